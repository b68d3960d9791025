"""Search under any mode over base vectors that were stored once.

The cosine of a query vector q with a mapped document is (Wᵀq)·b / ‖W b‖. So the index is asked for the largest
(Wᵀq)·b, corrected for what is known of ‖W b‖ (folding.py), more of them than are wanted, and those are scored exactly
with the mapper, from the first one down as far as matters (rescore.py). Adjacent chunks are then merged.

A query of words also asks for the best BM25 scores, of all its words and of each alone, and ranks the first chunks of
all lists by the probability that they are relevant (relevance.py).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from uuid import UUID

import numpy as np

from unbraid.errors import ItemError
from unbraid.index.files.language import PICTURE
from unbraid.index.files.preamble import is_preamble
from unbraid.index.protocol import Model, Scores, Vectors
from unbraid.index.search.best_part import best_parts, quick_nearness
from unbraid.index.search.copies import copy_key, first_of_copies, places_of
from unbraid.index.search.folding import folding_for
from unbraid.index.search.hit import Hit
from unbraid.index.search.kept import Kept, checked_entries, document_vectors, usual_documents
from unbraid.index.search.match_words import WordMatches, match_words
from unbraid.index.search.merge_adjacent import join_boxes, join_chunks, merge_adjacent, shared_context
from unbraid.index.search.phrases import holds_phrases, quoted_phrases
from unbraid.index.search.relevance import Evidence, Relevance, Scale, probability, relevance_of
from unbraid.index.search.rescore import Ranked, rescore
from unbraid.index.search.second_look import SecondLook
from unbraid.index.search.side_by_side import prefer_side_by_side
from unbraid.index.store.bm25 import NO_WORDS, read_query, word_terms
from unbraid.index.store.entry import Entry
from unbraid.index.store.filter import ANYTHING, Filter
from unbraid.index.store.store import Candidates, Store, Version

# Candidates asked for, and per result wanted. So many, because lengths of mapped vectors may be far from what the folding
# expects: of Thai texts, which the starter cannot read, the ten best are among the first 1,500 but not the first 600.
DEPTH, DEPTH_FACTOR = 1_500, 50
BLOCK, BLOCK_FACTOR = 50, 5  # of these, scored exactly at first
# Of these, all scored for a query of words, since its words may lift any of them.
HYBRID, HYBRID_FACTOR = 150, 15
# BM25 gives half of that: among 20,000 documents the best ten were all there with 25 (docs/experiments.md). So does a
# word alone, and one that gives fewer is one that few chunks hold.
WORDS_SHARE = 2
READ = 2  # entries read and checked at a time beyond those wanted, down the ranking
# Log odds that a passage of nothing but a licence and imports loses: it holds the names of the code that it precedes, and
# is seldom what anyone looks for (docs/experiments.md).
PREAMBLE = 3.0


def check_search(model: Model, mode: str, k: int) -> tuple[str, str]:
    """The tasks of `mode`: (query, document). Raises ItemError for a mode that the model does not have, or a wrong k."""
    if mode not in model.search_modes:
        raise ItemError(f"unknown search mode {mode!r}: choose one of {', '.join(model.search_modes)}")
    if not isinstance(k, int) or k < 1:
        raise ItemError(f"k is {k}: ask for at least one result")
    return model.search_modes[mode]


def search_vectors(
    store: Store,
    model: Model,
    base: Vectors,
    *,
    mode: str = "retrieval",
    k: int = 10,
    filter: Filter = ANYTHING,
    words: Sequence[str | None] | None = None,
    kept: Kept | None = None,
    looks: Sequence[SecondLook | None] | None = None,
) -> list[list[Hit]]:
    """The `k` best hits for each base vector of [n, dim], best first, among the chunks that pass `filter`.

    `words` are the texts of the queries, None for one that is searched by its vector alone; a phrase in quotes holds in
    every hit. `kept` is what the index keeps from search to search. `looks` are the second looks of the queries.
    """
    query_task, document_task = check_search(model, mode, k)
    if not len(base):
        return []
    queries = model.map(base, query_task)
    block = max(BLOCK, BLOCK_FACTOR * k)
    kept = kept or Kept()
    folding = folding_for(kept.foldings, store, model, query_task, document_task, block)
    texts = [None] * len(base) if words is None else words
    asked = [NO_WORDS if text is None else read_query(text) for text in texts]
    looks = looks or [None] * len(base)
    limit = max(HYBRID, HYBRID_FACTOR * k, *(look.rerank.first for look in looks if look))
    depth = limit if all(asked) else max(DEPTH, DEPTH_FACTOR * k)
    found = store.nearest(folding(queries), depth, filter)
    near = [some.ids(slice(limit)) if one else [] for some, one in zip(found, asked, strict=True)]
    chunks = store.size()
    matches = match_words(store, asked, near, limit // WORDS_SHARE, filter, chunks)
    version = store.recent_version()
    usual = usual_documents(kept, store.kept_sample(version), model, document_task)
    relevance = relevance_of(model)
    results = []
    for query, candidates, text, one, look in zip(queries, found, texts, matches, looks, strict=True):
        # One query at a time: a product of matrices differs in the last bit from that of one row.
        scale = Scale.of(usual @ query, relevance)
        search = _Search(
            store, model, document_task, query, text or "", scale, relevance, chunks, k, kept, version, look
        )
        if one is None:
            results.append(search.by_vector(candidates, folding.size, block))
        else:
            results.append(search.by_words(one))
    return results


@dataclass(frozen=True)
class _Search:
    """One query of a search: its task vector [dim], its words, and what stands still while its candidates are scored."""

    store: Store
    model: Model
    task: str  # of the documents
    query: Vectors
    text: str  # empty for a query that is searched by its vector alone
    scale: Scale
    relevance: Relevance
    chunks: int
    k: int
    kept: Kept
    version: Version
    look: SecondLook | None

    def cosines(self, ids: list[UUID]) -> Scores:
        """The cosines of chunks, those of pictures as of texts that are as relevant.

        Cosines are rounded, since a matrix product gives two identical rows scores that differ in the last bit.
        """
        documents = document_vectors(self.kept, self.version, self.store, self.model, self.task, ids)
        cosines = documents @ self.query
        if self.relevance.picture != (1.0, 0.0) and (shown := self.store.pictures(ids)):
            cosines = self.relevance.as_of_texts(cosines, np.asarray([one in shown for one in ids], bool))
        return np.round(cosines, 6)

    def texts(self, ids: list[UUID]) -> list[str]:
        """The texts of chunks, empty for a damaged one."""
        return [entry.text if entry else "" for entry in self.entries(ids)]

    def entries(self, ids: list[UUID]) -> list[Entry | None]:
        """What is stored of chunks; None of a damaged one."""
        return checked_entries(self.kept, self.version, self.store, ids)

    def by_vector(self, candidates: Candidates, size: float, block: int) -> list[Hit]:
        """Hits of the largest cosines."""

        def score(some: slice) -> tuple[list[UUID], Scores]:
            ids = candidates.ids(some)
            return ids, self.cosines(ids)

        if self.look is not None:
            first = max(self.k, self.look.rerank.first)
            return self.looked_at(
                rescore(candidates.scores(), size, first, max(block, first + READ), score), self.look
            )
        ranking = rescore(candidates.scores(), size, self.k, block, score)
        lowered = PREAMBLE * self.scale.spread / self.relevance.per_z  # as a cosine

        def scores(one: _Result) -> tuple[float, float, None]:
            return self.relevance.by_vector(self.scale(one.best.score), self.chunks), one.best.raw, None

        return self.hits(_results(self.entries, ranking, self.k, lowered), scores)

    def looked_at(self, ranking: Iterable[Ranked], look: SecondLook) -> list[Hit]:
        """Hits of a ranking by cosines whose first candidates are looked at again."""
        cosines: list[Scores] = [np.empty(0)]

        def log_odds(of: Scores) -> Scores:
            cosines[0] = of
            odds: Scores = self.relevance.vector_log_odds(self.scale(of), self.chunks)
            return odds

        def scores(one: _Result) -> tuple[float, float, None]:
            return probability(one.best.score), float(cosines[0][one.best.row]), None

        again = look.ranked(ranking, log_odds, self.entries)
        return self.hits(_results(self.entries, again, self.k, PREAMBLE), scores)

    def by_words(self, found: WordMatches) -> list[Hit]:
        """Hits that are most likely relevant, by their cosines and the words that they hold."""
        ids, cosines = found.ids, self.cosines(found.ids)
        evidence = Evidence(
            self.scale(cosines),
            found.bm25,
            float(found.bm25.max(initial=0.0)),
            found.rare,
            found.single,
            self.chunks,
            found.listed,
        )
        odds = self.relevance.log_odds(evidence)
        if found.listed:
            odds = prefer_side_by_side(odds, self.text, lambda rows: self.texts([ids[row] for row in rows]))
        if self.look is not None:
            odds = self.look.again(odds, ids, self.entries)
        odds = np.round(odds, 6)
        ranked = Ranked(ids, odds, np.argsort(-odds, kind="stable").tolist())

        def scores(one: _Result) -> tuple[float, float, float]:
            row = one.best.row
            return probability(one.best.score), float(cosines[row]), float(found.bm25[row])

        return self.hits(
            _results(self.entries, [ranked], self.k, PREAMBLE, quoted_phrases(self.text)), scores
        )

    def hits(
        self, results: list["_Result"], scores: Callable[["_Result"], tuple[float, float, float | None]]
    ) -> list[Hit]:
        """Results as hits, each with its probability, cosine and BM25 score."""
        shown = [join_chunks(one.chunks) for one in results]
        matches = best_parts(
            [snippet for _, _, snippet in shown],
            word_terms(self.text),
            quick_nearness(self.model, self.task, self.query, self.kept.parts),
            # Of another language than English the quickest tier has poor vectors.
            [not one.best.entry.text_language for one in results],
        )
        hits = []
        for rank, (one, place, match) in enumerate(zip(results, shown, matches, strict=True), start=1):
            score, cosine, bm25 = scores(one)
            best = one.best.entry
            if best.modality == "image":
                cosine = self.relevance.of_picture(cosine)
            hits.append(
                Hit(
                    rank,
                    score,
                    best.path,
                    "image" if best.language == PICTURE else best.modality,
                    *place,
                    cosine,
                    bm25,
                    join_boxes(one.chunks),
                    match,
                    shared_context(one.chunks),
                    places_of(one.copies, one.chunks),
                    best.unit,
                )
            )
        return hits


@dataclass(frozen=True)
class _Found:
    """A chunk with its row among the candidates and its score there; a preamble is `lowered` by so much."""

    row: int
    raw: float
    lowered: float
    entry: Entry

    @property
    def score(self) -> float:
        """What it ranks by."""
        return self.raw - self.lowered

    @cached_property
    def key(self) -> str:
        """What its copies have in common."""
        return copy_key(self.entry)


@dataclass(frozen=True)
class _Result:
    """Adjacent chunks, the best first, which the result ranks by, and copies of the chunks."""

    best: _Found
    chunks: list[Entry]
    copies: list[Entry]


def _results(
    entries: Callable[[list[UUID]], list[Entry | None]],
    ranking: Iterable[Ranked],
    k: int,
    lowered: float,
    phrases: Sequence[str] = (),
) -> list[_Result]:
    """The `k` best results of a ranking. Lazy: scores and reads payloads until `k` merged results are final.

    A chunk that is a preamble (files/preamble.py) scores `lowered` less, one that does not hold each of `phrases` is left
    out. Copies of one text, down to the last result, are one result.
    """
    found: list[_Found] = []
    results: list[list[int]] = []
    first: list[int] = []  # for each of them, the number of the first with the same text
    for ranked, rows in _batches(ranking, k + READ):
        read = entries([ranked.ids[row] for row in rows])
        found += [
            _Found(row, float(ranked.scores[row]), lowered * _is_preamble(entry), entry)
            for row, entry in zip(rows, read, strict=True)
            if entry is not None and holds_phrases(entry.text, phrases)
        ]
        # The path and the place in it decide between equal scores.
        found.sort(key=lambda one: (-one.score, one.entry.path, one.entry.chunk))
        first = first_of_copies(one.key for one in found)
        own = [number for number, original in enumerate(first) if number == original]
        results = [[own[n] for n in some] for some in merge_adjacent([found[n].entry for n in own], k)]
        taken = sum(map(len, results))
        # The next one belongs to none of them, and none that is not read yet can come before it.
        if taken < len(own) and found[own[taken]].score >= ranked.scores[rows[-1]]:
            first = first[: own[taken]]
            break
    copies: dict[int, list[Entry]] = {}
    for number, original in enumerate(first):
        if number != original:
            copies.setdefault(original, []).append(found[number].entry)
    return [
        _Result(
            found[result[0]],
            [found[number].entry for number in result],
            [copy for number in result for copy in copies.get(number, ())],
        )
        for result in results
    ]


def _is_preamble(entry: Entry) -> bool:
    return entry.modality == "code" and is_preamble(entry.snippet)


def _batches(ranking: Iterable[Ranked], size: int) -> Iterator[tuple[Ranked, list[int]]]:
    """Candidates of a ranking, best first, `size` at a time and as many more as have the last one's score."""
    seen: set[int] = set()
    for ranked in ranking:
        rest = [row for row in ranked.order if row not in seen]
        while rest:
            end = size
            while end < len(rest) and ranked.scores[rest[end]] == ranked.scores[rest[end - 1]]:
                end += 1
            yield ranked, rest[:end]
            seen.update(rest[:end])
            rest = rest[end:]
