"""Search under any mode over base vectors that were stored once.

The cosine of a query vector q with a mapped document is (Wᵀq)·b / ‖W b‖. So the index is asked for the largest
(Wᵀq)·b, corrected for what is known of ‖W b‖ (folding.py), more of them than are wanted, and those are scored exactly
with the mapper, from the first one down as far as matters (descent.py). Neighbours are then merged.

A hybrid search also asks for the best BM25 scores and ranks the first chunks of both lists by `hybrid.mixed`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import numpy as np

from unbraid.errors import ItemError
from unbraid.index.protocol import Model, Scores, Vectors
from unbraid.index.search.folding import folding_for
from unbraid.index.search.hybrid import mixed
from unbraid.index.search.merge_adjacent import joined, merge
from unbraid.index.search.rescore import Ranked, descend
from unbraid.index.store.bm25 import query_terms
from unbraid.index.store.entry import Entry
from unbraid.index.store.filter import ANYTHING, Only
from unbraid.index.store.protocol import Candidates, Collection, tamed
from unbraid.items import Item, Modality

# Candidates asked for, and per result wanted. So many, since lengths of mapped vectors may be far from what the folding
# expects: of Thai texts, which the starter cannot read, the ten best are among the first 1,500 but not the first 600.
DEPTH, DEPTH_FACTOR = 1_500, 50
BLOCK, BLOCK_FACTOR = 50, 5  # of these, scored exactly at first
HYBRID, HYBRID_FACTOR = 300, 20  # of these, all scored in a hybrid search, since BM25 may lift any of them
# Of those that BM25 finds a quarter: among 20,000 documents the best ten were all there with 25 (docs/experiments.md).
WORDS_SHARE = 4
SPREAD_SAMPLE = 256  # chunks that a query's spread of cosines is taken from: 4.4 % standard error
READ = 2  # entries read and checked at a time beyond those wanted, going down the ranking


@dataclass(frozen=True)
class Hit:
    """One result: a chunk, or up to three neighbouring ones of a file.

    `score` is the best chunk's cosine in the task space; in a hybrid search the mixed score, of this `cosine` and
    `bm25`. Lines count from 1; they are pages for a PDF, None for a picture.
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


def search(
    store: Collection,
    model: Model,
    queries: Sequence[Item],
    *,
    mode: str = "retrieval",
    k: int = 10,
    only: Only = ANYTHING,
    hybrid: bool = False,
) -> list[list[Hit]]:
    """The `k` best hits for each text, code snippet or picture, best first, among the chunks that `only` lets through.

    `hybrid` mixes BM25 in, by the words of the queries. Raises ItemError for a mode the model does not have, for a
    query that cannot be encoded, and for a picture in a hybrid search.
    """
    _check(model, mode, k)
    words = _words(queries) if hybrid else None
    base = model.encode(queries, progress=False)
    return search_vectors(store, model, base, mode=mode, k=k, only=only, words=words)


def search_vectors(
    store: Collection,
    model: Model,
    base: Vectors,
    *,
    mode: str = "retrieval",
    k: int = 10,
    only: Only = ANYTHING,
    words: Sequence[str] | None = None,
) -> list[list[Hit]]:
    """`search` for queries that are base vectors [n, dim] already: another mode costs no encoding.

    With `words`, the texts of the queries, it is hybrid.
    """
    query_task, document_task = _check(model, mode, k)
    if not len(base):
        return []
    queries = model.map(base, query_task)
    block = max(BLOCK, BLOCK_FACTOR * k)
    folding = folding_for(store, model, query_task, document_task, block)
    found = store.nearest(folding(queries), max(DEPTH, DEPTH_FACTOR * k), only)
    if words is not None:
        return _hybrid(store, model, queries, document_task, found, words, k, only)
    results = []
    for query, candidates in zip(queries, found, strict=True):
        scored = partial(_scored, store, model, query, document_task, candidates)
        ranking = descend(candidates.scores(), folding.size, k, block, scored)
        results.append(_hits(store, ranking, k))
    return results


def _scored(
    store: Collection, model: Model, query: Vectors, task: str, candidates: Candidates, some: slice
) -> tuple[list[UUID], Vectors, Scores]:
    """Ids, vectors [n, dim] as stored and cosines [n] of some candidates of a query [dim]."""
    ids = candidates.ids(some)
    vectors = store.vectors(ids)
    return ids, vectors, _cosines(model, query, task, vectors)


def _cosines(model: Model, query: Vectors, task: str, vectors: Vectors) -> Scores:
    """Rounded, since a matrix product gives two identical rows scores that differ in the last bit."""
    return np.round(model.map(tamed(vectors), task) @ query, 6)


def _hybrid(
    store: Collection,
    model: Model,
    queries: Vectors,
    task: str,
    found: Sequence[Candidates],
    words: Sequence[str],
    k: int,
    only: Only,
) -> list[list[Hit]]:
    """Hits among the first candidates of each query [n, dim] and those that BM25 finds for its words."""
    limit = max(HYBRID, HYBRID_FACTOR * k)
    terms = [query_terms(one) for one in words]
    others = store.nearest_words(terms, limit // WORDS_SHARE, only)
    united = [
        list(dict.fromkeys([*near.ids(slice(limit)), *other.ids()]))
        for near, other in zip(found, others, strict=True)
    ]
    sample = model.map(store.sample()[:SPREAD_SAMPLE], task)
    results = []
    for query, ids, bm25 in zip(queries, united, store.word_scores(terms, united), strict=True):
        vectors = store.vectors(ids)
        cosines = _cosines(model, query, task, vectors)
        spread = float(np.std(sample @ query)) if len(sample) else 0.0
        scores = np.round(mixed(cosines, bm25, spread, float(bm25.max(initial=0.0))), 6)
        ranked = Ranked(ids, vectors, scores, np.argsort(-scores, kind="stable").tolist())
        results.append(_hits(store, [ranked], k, (cosines, bm25)))
    return results


def _words(queries: Sequence[Item]) -> list[str]:
    words = [str(query) for query in queries if isinstance(query, str)]
    if len(words) < len(queries):
        raise ItemError("a picture has no words for a hybrid search: leave --hybrid out")
    return words


def _hits(
    store: Collection, ranking: Iterable[Ranked], k: int, parts: tuple[Scores, Scores] | None = None
) -> list[Hit]:
    """The `k` best results of a ranking; only as much of it is made as is needed, and as few entries are read.

    `parts` are the cosines [n] and BM25 scores [n] that its scores are mixed of.
    """
    found: list[tuple[int, float, Entry]] = []  # number, score and entry of a candidate
    results: list[list[int]] = []
    for ranked, rows in _parts(ranking, k + READ):
        entries = store.entries([ranked.ids[row] for row in rows], ranked.vectors[rows])
        found += [
            (row, float(ranked.scores[row]), entry)
            for row, entry in zip(rows, entries, strict=True)
            if entry is not None
        ]
        found.sort(key=lambda one: (-one[1], one[2].path, one[2].chunk))  # which decide between equal scores
        results = merge([entry for _, _, entry in found], k)
        if sum(map(len, results)) < len(found):  # the next one belongs to none of them
            break
    hits = []
    for rank, result in enumerate(results, start=1):
        row, score, best = found[result[0]]
        place = joined([found[number][2] for number in result])
        both = [float(part[row]) for part in parts] if parts else []
        hits.append(Hit(rank, score, best.path, best.modality, *place, *both))
    return hits


def _parts(ranking: Iterable[Ranked], size: int) -> Iterator[tuple[Ranked, list[int]]]:
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


def _check(model: Model, mode: str, k: int) -> tuple[str, str]:
    """The tasks of `mode`: (query, document). Raises ItemError for an argument that means nothing."""
    if mode not in model.search_modes:
        raise ItemError(f"unknown search mode {mode!r}: choose one of {', '.join(model.search_modes)}")
    if k < 1:
        raise ItemError(f"k is {k}: ask for at least one result")
    return model.search_modes[mode]
