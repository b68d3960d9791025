"""Search under any mode over base vectors that were stored once.

The cosine of a query vector q with a mapped document is (Wᵀq)·b / ‖W b‖. So the index is asked for the largest
(Wᵀq)·b, corrected for what is known of ‖W b‖ (folding.py), more of them than are wanted, and those are scored exactly
with the mapper, from the first one down as far as matters (rescore.py). Adjacent chunks are then merged.

A hybrid search also asks for the best BM25 scores and ranks the first chunks of both lists by `hybrid.mixed`.
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
from unbraid.index.search.hybrid import mixed
from unbraid.index.search.merge_adjacent import join_boxes, join_chunks, merge_adjacent
from unbraid.index.search.rescore import Ranked, rescore
from unbraid.index.store.bm25 import query_words
from unbraid.index.store.entry import Entry
from unbraid.index.store.filter import ANYTHING, Filter
from unbraid.index.store.store import Candidates, Store, without_damage
from unbraid.items import Modality

# Candidates asked for, and per result wanted. So many, because lengths of mapped vectors may be far from what the folding
# expects: of Thai texts, which the starter cannot read, the ten best are among the first 1,500 but not the first 600.
DEPTH, DEPTH_FACTOR = 1_500, 50
BLOCK, BLOCK_FACTOR = 50, 5  # of these, scored exactly at first
HYBRID, HYBRID_FACTOR = 300, 20  # of these, all scored in a hybrid search, since BM25 may lift any of them
# BM25 gives a quarter of that: among 20,000 documents the best ten were all there with 25 (docs/experiments.md).
WORDS_SHARE = 4
SPREAD_SAMPLE = 256  # chunks that a query's spread of cosines is taken from: 4.4 % standard error
READ = 2  # entries read and checked at a time beyond those wanted, down the ranking


@dataclass(frozen=True)
class Hit:
    """One result: a chunk, or up to three adjacent ones of a file.

    `score` is the best chunk's cosine in the task space; in a hybrid search the mixed score, of this `cosine` and
    `bm25`. Lines count from 1; they are pages for a PDF, None for a picture. The snippet of a picture is the words in
    it that were found; `boxes` says where each of its lines stands.
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
    words: Sequence[str] | None = None,
    foldings: Foldings | None = None,
) -> list[list[Hit]]:
    """The `k` best hits for each base vector of [n, dim], best first, among the chunks that pass `filter`.

    With `words`, the texts of the queries, the search is hybrid. `foldings` keeps what is fitted from search to search.
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
    if words is not None:
        return _hybrid(store, model, queries, document_task, found, words, k, filter)
    results = []
    for query, candidates in zip(queries, found, strict=True):

        def score(
            some: slice, query: Vectors = query, candidates: Candidates = candidates
        ) -> tuple[list[UUID], Vectors, Scores]:
            ids = candidates.ids(some)
            vectors = store.vectors(ids)
            return ids, vectors, _cosines(model, query, document_task, vectors)

        results.append(_hits(store, rescore(candidates.scores(), folding.size, k, block, score), k))
    return results


def _cosines(model: Model, query: Vectors, task: str, vectors: Vectors) -> Scores:
    """Rounded, since a matrix product gives two identical rows scores that differ in the last bit."""
    return np.round(model.map(without_damage(vectors), task) @ query, 6)


def _hybrid(
    store: Store,
    model: Model,
    queries: Vectors,
    task: str,
    found: Sequence[Candidates],
    words: Sequence[str],
    k: int,
    filter: Filter,
) -> list[list[Hit]]:
    """Hits among the first candidates of each query [n, dim] and those that BM25 finds for its words."""
    limit = max(HYBRID, HYBRID_FACTOR * k)
    asked = [query_words(one) for one in words]
    others = store.nearest_words(asked, limit // WORDS_SHARE, filter)
    united = [
        list(dict.fromkeys([*near.ids(slice(limit)), *other.ids()]))
        for near, other in zip(found, others, strict=True)
    ]
    sample = model.map(store.sample()[:SPREAD_SAMPLE], task)
    results = []
    for query, ids, bm25 in zip(queries, united, store.word_scores(asked, united), strict=True):
        vectors = store.vectors(ids)
        cosines = _cosines(model, query, task, vectors)
        spread = float(np.std(sample @ query)) if len(sample) else 0.0
        scores = np.round(mixed(cosines, bm25, spread, float(bm25.max(initial=0.0))), 6)
        ranked = Ranked(ids, vectors, scores, np.argsort(-scores, kind="stable").tolist())
        results.append(_hits(store, [ranked], k, (cosines, bm25)))
    return results


def _hits(
    store: Store, ranking: Iterable[Ranked], k: int, parts: tuple[Scores, Scores] | None = None
) -> list[Hit]:
    """The `k` best results of a ranking. Lazy: scores and reads payloads until `k` merged hits are final.

    `parts` are the cosines [n] and BM25 scores [n] that its scores are mixed of.
    """
    found: list[tuple[int, float, Entry]] = []  # number, score and entry of a candidate
    results: list[list[int]] = []
    for ranked, rows in _batches(ranking, k + READ):
        entries = store.entries([ranked.ids[row] for row in rows], ranked.vectors[rows])
        found += [
            (row, float(ranked.scores[row]), entry)
            for row, entry in zip(rows, entries, strict=True)
            if entry is not None
        ]
        found.sort(key=lambda one: (-one[1], one[2].path, one[2].chunk))  # which decide between equal scores
        results = merge_adjacent([entry for _, _, entry in found], k)
        if sum(map(len, results)) < len(found):  # the next one belongs to none of them
            break
    hits = []
    for rank, result in enumerate(results, start=1):
        row, score, best = found[result[0]]
        chunks = [found[number][2] for number in result]
        first, last, snippet = join_chunks(chunks)
        modality = "image" if best.language == PICTURE else best.modality
        cosine, bm25 = [float(part[row]) for part in parts] if parts else (None, None)
        boxes = join_boxes(chunks)
        hits.append(Hit(rank, score, best.path, modality, first, last, snippet, cosine, bm25, boxes))
    return hits


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
