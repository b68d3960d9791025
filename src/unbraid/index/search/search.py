"""Search under any mode over base vectors that were stored once.

The cosine of a query vector q with a mapped document is (Wᵀq)·b / ‖W b‖. So the index is asked for the largest
(Wᵀq)·b, corrected for what is known of ‖W b‖ (folding.py), more of them than are wanted, and those are scored exactly
with the mapper, from the first one down as far as matters (rescore.py). Adjacent chunks are then merged.

A query of words also asks for the best BM25 scores, of all its words and of each alone, and ranks the first chunks of
all lists by the probability that they are relevant (relevance.py).
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import numpy as np

from unbraid.errors import ItemError
from unbraid.index.files.language import PICTURE
from unbraid.index.files.read_words import Box
from unbraid.index.protocol import Model, Scores, Vectors
from unbraid.index.search.folding import Foldings, folding_for
from unbraid.index.search.match_words import WordMatches, match_words
from unbraid.index.search.merge_adjacent import join_boxes, join_chunks, merge_adjacent
from unbraid.index.search.phrases import holds_phrases, quoted_phrases
from unbraid.index.search.relevance import Evidence, Relevance, Scale, probability, relevance_of
from unbraid.index.search.rescore import Ranked, rescore
from unbraid.index.store.bm25 import NO_WORDS, read_query
from unbraid.index.store.entry import Entry
from unbraid.index.store.filter import ANYTHING, Filter
from unbraid.index.store.store import Candidates, Store, without_damage
from unbraid.items import Modality

# Candidates asked for, and per result wanted. So many, because lengths of mapped vectors may be far from what the folding
# expects: of Thai texts, which the starter cannot read, the ten best are among the first 1,500 but not the first 600.
DEPTH, DEPTH_FACTOR = 1_500, 50
BLOCK, BLOCK_FACTOR = 50, 5  # of these, scored exactly at first
# Of these, all scored for a query of words, since its words may lift any of them.
HYBRID, HYBRID_FACTOR = 150, 15
# BM25 gives half of that: among 20,000 documents the best ten were all there with 25 (docs/experiments.md). So does a
# word alone, and one that gives fewer is one that few chunks hold.
WORDS_SHARE = 2
SPREAD_SAMPLE = 256  # chunks that a query's usual cosines are taken from: their spread has an error of 4.4 %
READ = 2  # entries read and checked at a time beyond those wanted, down the ranking


@dataclass(frozen=True)
class Hit:
    """One result: a chunk, or up to three adjacent ones of a file.

    `score` is the probability that the best chunk is relevant, in 0..1, by its `cosine` in the task space and, where
    words count, its `bm25`. Lines count from 1; they are pages for a PDF, None for a picture. The snippet of a picture is
    the words in it that were found; `boxes` says where each of its lines stands.
    """

    rank: int
    score: float
    path: str
    modality: Modality
    first_line: int | None
    last_line: int | None
    snippet: str
    cosine: float | None = None
    bm25: float | None = None
    boxes: list[Box] = field(default_factory=list)

    @property
    def place(self) -> str:
        """The file, from the working folder where it is near, with its lines or pages: "docs/a.md:3-9", "b.pdf page 2"."""
        relative = os.path.relpath(self.path)
        path = self.path if relative.startswith(f"..{os.sep}..") else relative
        if self.first_line is None:
            return path
        one = self.first_line == self.last_line
        if path.lower().endswith((".pdf", ".tif", ".tiff")):
            return f"{path} page {self.first_line}" + ("" if one else f"-{self.last_line}")
        return f"{path}:{self.first_line}-{self.last_line}"

    def __str__(self) -> str:
        """One line: rank, score, place and the beginning of the snippet."""
        return (
            f"{self.rank:3d}  {self.score:.3f}  {self.place}  {' '.join(self.snippet.split())[:60]}".rstrip()
        )


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
    foldings: Foldings | None = None,
) -> list[list[Hit]]:
    """The `k` best hits for each base vector of [n, dim], best first, among the chunks that pass `filter`.

    `words` are the texts of the queries, None for one that is searched by its vector alone; a phrase in quotes holds in
    every hit. `foldings` keeps what is fitted from search to search.
    """
    query_task, document_task = check_search(model, mode, k)
    if not len(base):
        return []
    queries = model.map(base, query_task)
    block = max(BLOCK, BLOCK_FACTOR * k)
    folding = folding_for(
        {} if foldings is None else foldings, store, model, query_task, document_task, block
    )
    found = store.nearest(folding(queries), max(DEPTH, DEPTH_FACTOR * k), filter)
    texts = [None] * len(base) if words is None else words
    asked = [NO_WORDS if text is None else read_query(text) for text in texts]
    limit = max(HYBRID, HYBRID_FACTOR * k)
    near = [some.ids(slice(limit)) if one else [] for some, one in zip(found, asked, strict=True)]
    matches = match_words(store, asked, near, limit // WORDS_SHARE, filter)
    sample = model.map(store.sample()[:SPREAD_SAMPLE], document_task)
    relevance, chunks = relevance_of(model), store.size()
    results = []
    for query, candidates, text, one in zip(queries, found, texts, matches, strict=True):
        # One query at a time: a product of matrices differs in the last bit from that of one row.
        scale = Scale.of(sample @ query, relevance)
        search = _Search(store, model, document_task, query, scale, relevance, chunks, k)
        if one is None:
            results.append(search.by_vector(candidates, folding.size, block))
        else:
            results.append(search.by_words(one, quoted_phrases(text or "")))
    return results


@dataclass(frozen=True)
class _Search:
    """One query of a search: its task vector [dim] and what stands still while its candidates are scored."""

    store: Store
    model: Model
    task: str  # of the documents
    query: Vectors
    scale: Scale
    relevance: Relevance
    chunks: int
    k: int

    def cosines(self, ids: list[UUID]) -> tuple[list[UUID], Vectors, Scores]:
        """The ids, their vectors as stored and their cosines.

        Cosines are rounded, since a matrix product gives two identical rows scores that differ in the last bit.
        """
        vectors = self.store.vectors(ids)
        return ids, vectors, np.round(self.model.map(without_damage(vectors), self.task) @ self.query, 6)

    def by_vector(self, candidates: Candidates, size: float, block: int) -> list[Hit]:
        """Hits of the largest cosines."""

        def score(some: slice) -> tuple[list[UUID], Vectors, Scores]:
            return self.cosines(candidates.ids(some))

        ranking = rescore(candidates.scores(), size, self.k, block, score)
        return [
            Hit(
                rank,
                self.relevance.by_vector(self.scale(one.score), self.chunks),
                *one.place,
                one.score,
                None,
                one.boxes,
            )
            for rank, one in enumerate(_results(self.store, ranking, self.k), start=1)
        ]

    def by_words(self, found: WordMatches, phrases: Sequence[str]) -> list[Hit]:
        """Hits that are most likely relevant, by their cosines and the words that they hold."""
        ids, vectors, cosines = self.cosines(found.ids)
        evidence = Evidence(
            self.scale(cosines),
            found.bm25,
            float(found.bm25.max(initial=0.0)),
            found.rare,
            found.single,
            self.chunks,
        )
        odds = np.round(self.relevance.log_odds(evidence), 6)
        ranked = Ranked(ids, vectors, odds, np.argsort(-odds, kind="stable").tolist())
        return [
            Hit(
                rank,
                probability(one.score),
                *one.place,
                float(cosines[one.row]),
                float(found.bm25[one.row]),
                one.boxes,
            )
            for rank, one in enumerate(_results(self.store, [ranked], self.k, phrases), start=1)
        ]


@dataclass(frozen=True)
class _Result:
    """A chunk, or adjacent ones: row and score of the best among the candidates, what a hit says of them, and the boxes of its lines."""

    row: int
    score: float
    place: tuple[str, Modality, int | None, int | None, str]
    boxes: list[Box]


def _results(store: Store, ranking: Iterable[Ranked], k: int, phrases: Sequence[str] = ()) -> list[_Result]:
    """The `k` best results of a ranking. Lazy: scores and reads payloads until `k` merged results are final.

    A chunk that does not hold each of `phrases` is left out.
    """
    found: list[tuple[int, float, Entry]] = []  # number, score and entry of a candidate
    results: list[list[int]] = []
    for ranked, rows in _batches(ranking, k + READ):
        entries = store.entries([ranked.ids[row] for row in rows], ranked.vectors[rows])
        found += [
            (row, float(ranked.scores[row]), entry)
            for row, entry in zip(rows, entries, strict=True)
            if entry is not None and holds_phrases(entry.text, phrases)
        ]
        found.sort(key=lambda one: (-one[1], one[2].path, one[2].chunk))  # which decide between equal scores
        results = merge_adjacent([entry for _, _, entry in found], k)
        if sum(map(len, results)) < len(found):  # the next one belongs to none of them
            break
    return [_result(*found[result[0]], [found[number][2] for number in result]) for result in results]


def _result(row: int, score: float, best: Entry, chunks: list[Entry]) -> _Result:
    modality: Modality = "image" if best.language == PICTURE else best.modality
    return _Result(row, score, (best.path, modality, *join_chunks(chunks)), join_boxes(chunks))


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
