"""The part of a passage that answers a query best: a line, or a sentence of a line that holds several.

Words go first, since they are counted in microseconds. Where several parts hold as many of them, the query's vector decides,
with vectors of the tier that is quickest: nano encodes the parts of ten hits in some milliseconds.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeAlias

import numpy as np

from unbraid.index.protocol import Scores, Vectors
from unbraid.index.store.bm25 import held_terms

QUICK: Final = "nano"
KEPT = 4_096  # vectors of parts, 8 MB of 512 dimensions
PartVectors: TypeAlias = dict[str, dict[str, Vectors]]  # by document task and part: task vectors [dim]
Nearness = Callable[[list[str]], Scores]
_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])\s*")


def parts_of(text: str) -> Iterator[str]:
    """The lines of a text and the sentences within them, as they stand there; none is blank."""
    for line in text.split("\n"):
        for part in _END.split(line):
            if part := part.strip():
                yield part


def best_parts(
    texts: Sequence[str], terms: frozenset[str], nearness: Nearness | None, comparable: Sequence[bool]
) -> list[str]:
    """Of each text the part with most of `terms`; of several, the one with the largest nearness; "" without parts.

    `nearness` scores parts of all texts in one call. Where it is None, and of texts that are not `comparable`, the first
    of several counts.
    """
    leading = [_with_most(list(parts_of(text)), terms) for text in texts]
    best = [parts[0] if parts else "" for parts in leading]
    tied = [row for row, parts in enumerate(leading) if comparable[row] and len(parts) > 1]
    if nearness is None or not tied:
        return best
    scores = iter(nearness([part for row in tied for part in leading[row]]).tolist())
    for row in tied:
        found = [next(scores) for _ in leading[row]]
        best[row] = leading[row][found.index(max(found))]
    return best


def quick_nearness(model: Any, task: str, query: Vectors, kept: PartVectors) -> Nearness | None:
    """Cosines of texts with a query's task vector [dim], by the quickest tier of the model's bundle; None where it has none.

    `kept` are the vectors of earlier texts, to which these are added.
    """
    bundle = getattr(model, "bundle", None)
    if bundle is None or QUICK not in bundle.tiers:
        return None

    def nearness(parts: list[str]) -> Scores:
        known = kept.get(task, {})
        if new := list(dict.fromkeys(part for part in parts if part not in known)):
            base = model.encode(new, tier=QUICK, on_truncate="ignore", progress=False)
            # A new dictionary where there are too many: another thread may be using the old one.
            known = known if len(known) <= KEPT else {part: known[part] for part in parts if part in known}
            known.update(zip(new, model.map(base, task), strict=True))
            kept[task] = known
        scores: Scores = np.stack([known[part] for part in parts]) @ query
        return scores

    return nearness


def _with_most(parts: list[str], terms: frozenset[str]) -> list[str]:
    """Those of `parts` that hold most of `terms`."""
    if not terms:
        return parts
    held = [len(held_terms(part, terms)) for part in parts]
    return [part for part, count in zip(parts, held, strict=True) if count == max(held)]
