"""The second look: the first candidates of a query of words are scored again by late interaction (MaxSim).

A vector says what a passage is about as a whole. Its tokens say whether each word of the query has an answer in it. That
changes the log odds of the candidates that are looked at, by how much better or worse they answer than the ten best do on
average. One that stands out gains; where all are alike none does, so that what people see stays a probability. What cannot be
looked at keeps the log odds that it has: pictures and their words, texts that another tier reads than the query, and what no
time was left for.

An index that stores token vectors has them all of one tier, the one whose second look gains most, whatever tier made the base
vectors: it also sees what they miss, and texts in all languages. Its own base vectors count too, of passages that another tier
put in the index: a second opinion of the whole. Else the tier of each passage reads it, which is quicker.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Final, TypeAlias
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from unbraid.errors import ItemError
from unbraid.index.protocol import Scores
from unbraid.index.search.document_tokens import Head, Passage, Reading, head_of, read_passages
from unbraid.index.search.rescore import Ranked
from unbraid.index.search.token_cache import TokenCache
from unbraid.index.store.entry import Entry
from unbraid.items import Code
from unbraid.multi_vector.maxsim import maxsim
from unbraid.multi_vector.token_vectors import TokenVectors

# Compared with the mean of all candidates, even the first of fifty that are all wrong would gain (docs/experiments.md).
BEST: Final = 10
FIRST, MOST_FIRST = 50, 1_000
SHORT = 4  # words of a query that are too few to tell its language
_TIME = re.compile(r"(\d{1,9}(?:\.\d{1,9})?) ?(ms|s)", re.ASCII)
_COUNT = re.compile(r"[0-9]{1,4}")

EntriesOf: TypeAlias = Callable[[list[UUID]], Sequence[Entry | None]]  # reads chunks


@dataclass(frozen=True)
class Rerank:
    """How much a second look may do: the `first` candidates, and `seconds` to encode those that are not stored."""

    first: int = FIRST
    seconds: float | None = None

    def within(self, most: float) -> "Rerank":
        """The same in at most `most` seconds."""
        return Rerank(self.first, most if self.seconds is None else min(self.seconds, most))


# Of an index that stores token vectors: a search uses what is stored, and makes what is lost anew, a few passages at a time. No
# longer, since other roots of the index may have nothing stored.
STORED: Final = Rerank(seconds=0.02)


def read_rerank(given: str | int) -> Rerank | None:
    """What `--rerank` says: "on", "off" (None), a number of candidates such as 100, or a time such as "30ms".

    Raises ItemError for anything else.
    """
    text = str(given).strip().lower()
    if text == "off":
        return None
    if text == "on":
        return Rerank()
    if _COUNT.fullmatch(text) and 2 <= int(text) <= MOST_FIRST:
        return Rerank(first=int(text))
    if time := _TIME.fullmatch(text):
        return Rerank(seconds=float(time[1]) / (1000 if time[2] == "ms" else 1))
    raise ItemError(
        f"rerank is {text[:40]!r}: expected on, off, 2 to {MOST_FIRST:,} candidates, or a time such as 30ms"
    )


def changes(scores: Scores, weight: float) -> Scores:
    """What MaxSim scores [n] of the candidates of one query add to their log odds [n]; over the BEST of them the sum is 0."""
    scores = np.asarray(scores, np.float64)
    return weight * (scores - np.sort(scores)[-BEST:].mean()) if len(scores) else scores


def gains(
    query: TokenVectors, readings: Sequence[Reading], second: NDArray[np.bool_], look: float, whole: float
) -> Scores:
    """What readings [n] of candidates add to the log odds [n] of them; `second` bool [n] where it is of another encoder.

    `look` and `whole` are the log odds of 1 in late interaction and in the cosine of base vectors (MultiVectorSpec).
    """
    gained = changes(maxsim(query, [one.tokens for one in readings]), look)
    second = second & [one.base is not None for one in readings]
    if whole and query.base is not None and second.any():
        asked = query.base / np.linalg.norm(query.base)
        bases = (one.base for one, counts in zip(readings, second, strict=True) if counts)
        cosines = [asked @ base for base in bases if base is not None]
        gained[second] += changes(np.asarray(cosines), whole)
    return gained


@dataclass
class Spent:
    """The seconds that the second looks of a query have taken."""

    seconds: float = 0.0


@dataclass(frozen=True)
class SecondLook:
    """The second look of one query of words: its token vectors by `head`, and the `share` of its weights that scores count.

    `reader` is the tier that reads passages; None is that of each. An index of two tiers is searched in two parts
    (by_tier.py), which share the time: `spent` is what they have taken.
    """

    model: Any
    head: Head
    query: TokenVectors
    share: float
    rerank: Rerank
    cache: TokenCache
    reader: str | None = None
    spent: Spent = field(default_factory=Spent)

    def again(self, odds: Scores, ids: Sequence[UUID], entries_of: EntriesOf) -> Scores:
        """Log odds [n] of the candidates `ids`, those of the first changed by what their tokens say."""
        first = np.argsort(-odds, kind="stable")[: self.rerank.first].tolist()
        entries = entries_of([ids[row] for row in first])
        passages = [Passage.of(self.model, entry, self.reader) for entry in entries]
        seen = [
            (row, one)
            for row, one in zip(first, passages, strict=True)
            if one is not None and (one.head.tier, one.head.space) == (self.head.tier, self.head.space)
        ]
        start, seconds = perf_counter(), self.rerank.seconds
        within = None if seconds is None else max(0.0, seconds - self.spent.seconds)
        readings = read_passages(self.model, [one for _, one in seen], self.cache, within)
        self.spent.seconds += perf_counter() - start
        # An empty text has no tokens, and nothing to look at.
        found = [
            (row, one, each)
            for (row, one), each in zip(seen, readings, strict=True)
            if each is not None and len(each.tokens)
        ]
        changed = np.array(odds, np.float64)
        if found:
            rows, read, each = zip(*found, strict=True)
            second = np.asarray([one.tier != self.head.tier for one in read])
            look, whole = self.share * self.head.look, self.share * self.head.whole
            changed[list(rows)] += gains(self.query, each, second, look, whole)
        return changed

    def ranked(
        self, ranking: Iterable[Ranked], log_odds: Callable[[Scores], Scores], entries_of: EntriesOf
    ) -> Iterator[Ranked]:
        """A ranking by cosines as one by log odds, the first candidates looked at again.

        `log_odds` makes those of cosines [n]. The first of `ranking` has more final candidates than are looked at.
        """
        gained: Scores = np.empty(0)
        for some in ranking:
            odds = log_odds(some.scores)
            if not len(gained):
                final = odds[some.order]
                gained = np.zeros(len(odds))
                gained[some.order] = (
                    self.again(final, [some.ids[row] for row in some.order], entries_of) - final
                )
            changed = np.round(odds + np.pad(gained, (0, len(odds) - len(gained))), 6)
            order = sorted(some.order, key=lambda row: -changed[row])
            if len(order) < len(odds):  # one that is not final may come before those that lost much
                lowest = odds[some.order].min()
                order = [row for row in order if changed[row] >= lowest]
            yield Ranked(some.ids, changed, order)


def second_looks(
    model: Any,
    queries: Sequence[str | None],
    share: float,
    rerank: Rerank,
    cache: TokenCache,
    reader: str | None = None,
) -> list[SecondLook | None]:
    """The second look of each query, a text or code; None where it is neither, or where no head reads it.

    `reader` is the tier that reads queries and passages. None is that of each passage; a query is then read by the tier that
    encodes documents in its language. Scores count `share` of their head's weight.
    """
    looks: list[SecondLook | None] = [None] * len(queries)
    if share == 0:
        return looks
    for row, query in enumerate(queries):
        if query is None or (head := query_head(model, query, reader)) is None:
            continue
        if len(tokens := query_tokens(model, query, head)):
            looks[row] = SecondLook(model, head, tokens, share, rerank, cache, reader)
    return looks


def can_look(model: Any) -> bool:
    """Whether some tier of a model's bundle has a multi-vector head."""
    tiers = getattr(getattr(model, "bundle", None), "tiers", {})
    return any(spec.multi_vector for specs in tiers.values() for spec in specs.values())


def query_head(model: Any, query: str, reader: str | None = None) -> Head | None:
    """The head that reads a query: that of the tier `reader`, or of the tier for documents; None where there is none."""
    if getattr(model, "bundle", None) is None:
        return None
    modality = "code" if isinstance(query, Code) else "text"
    if modality not in model.modalities:
        return None
    if reader:
        return head_of(model, reader, modality)
    ((tier, _),) = model.route([query], side="document")
    head = head_of(model, tier, modality)
    # "visa rules Japan" may be taken for another language, whose tier has no head.
    return head or (head_of(model, model.tier, modality) if len(query.split()) <= SHORT else None)


def query_tokens(model: Any, query: str, head: Head) -> TokenVectors:
    """The token vectors of a query by `head`."""
    found: list[TokenVectors] = model.token_vectors(
        [query], tier=head.tier, on_truncate="ignore", progress=False
    )
    return found[0]
