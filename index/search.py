"""Search under any mode over base vectors that were stored once.

The cosine of a query vector q with a mapped document is (Wᵀq)·b / ‖W b‖. So the index is asked for the largest
(Wᵀq)·b, corrected for what is known of ‖W b‖ (folding.py), more of them than are wanted, and those are scored exactly
with the mapper. Neighbours are then merged.

A hybrid search also asks for the best BM25 scores and ranks the chunks of both lists by `hybrid.mixed`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unbraid.errors import ItemError
from unbraid.index.collection import Collection
from unbraid.index.entry import Entry
from unbraid.index.folding import folding_for
from unbraid.index.hybrid import Scores, mixed
from unbraid.index.model import Model, Vectors
from unbraid.index.neighbours import joined, merge
from unbraid.index.only import ANYTHING, Only
from unbraid.index.terms import query_terms
from unbraid.items import Item, Modality

FETCH = 300  # candidates at least, and FETCH_FACTOR per result wanted
FETCH_FACTOR = 20
# Of those that BM25 finds a quarter: among 20,000 documents the best ten were all there with 25 (docs/experiments.md).
WORDS_SHARE = 4
SPREAD_SAMPLE = 256  # chunks that a query's spread of cosines is taken from: 4.4 % standard error
READ = 30  # entries read and checked at a time, going down the ranking, and READ_FACTOR per result wanted
READ_FACTOR = 3


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
    limit = max(FETCH, FETCH_FACTOR * k)
    folding = folding_for(store, model, query_task, document_task, limit)
    candidates = store.nearest(folding(queries), limit, only)
    counted = None
    if words is not None:
        candidates, counted = _with_words(store, words, candidates, limit, only)
    documents = model.map(np.concatenate([rows for _, rows in candidates]), document_task)
    sample = model.map(counted.sample, document_task) if counted else None
    results, start = [], 0
    for number, (query, (ids, rows)) in enumerate(zip(queries, candidates, strict=True)):
        # Rounded, since a matrix product gives two identical rows scores that differ in the last bit.
        cosines = np.round(documents[start : start + len(rows)] @ query, 6)
        start += len(rows)
        if counted is None or sample is None:
            results.append(_hits(store, ids, cosines, k))
            continue
        bm25 = counted.scores[number]
        spread = float(np.std(sample @ query)) if len(sample) else 0.0
        scores = np.round(mixed(cosines, bm25, spread, counted.best[number]), 6)
        results.append(_hits(store, ids, scores, k, (cosines, bm25)))
    return results


@dataclass(frozen=True)
class _Counted:
    """BM25 scores of each query's candidates, its best one, and base vectors that stand for the whole index."""

    scores: list[Scores]
    best: list[float]
    sample: Vectors


def _with_words(
    store: Collection,
    words: Sequence[str],
    candidates: Sequence[tuple[list[str], Vectors]],
    limit: int,
    only: Only,
) -> tuple[list[tuple[list[str], Vectors]], _Counted]:
    """The candidates with those that BM25 finds and they lack, and the scores of all."""
    terms = [query_terms(one) for one in words]
    found = store.nearest_words(terms, limit // WORDS_SHARE, only)
    united = []
    for (ids, rows), (others, other_rows, _) in zip(candidates, found, strict=True):
        known = set(ids)
        new = [number for number, one in enumerate(others) if one not in known]
        united.append(([*ids, *(others[number] for number in new)], np.concatenate([rows, other_rows[new]])))
    scores = store.word_scores(terms, [ids for ids, _ in united])
    best = [float(some.max(initial=0.0)) for some in scores]
    return united, _Counted(scores, best, store.sample()[:SPREAD_SAMPLE])


def _words(queries: Sequence[Item]) -> list[str]:
    words = [str(query) for query in queries if isinstance(query, str)]
    if len(words) < len(queries):
        raise ItemError("a picture has no words for a hybrid search: leave --hybrid out")
    return words


def _hits(
    store: Collection,
    ids: Sequence[str],
    scores: Scores,
    k: int,
    parts: tuple[Scores, Scores] | None = None,
) -> list[Hit]:
    """The `k` best results from candidates and their scores [n]; only the entries that are needed are read.

    `parts` are the cosines [n] and BM25 scores [n] that `scores` are mixed of.
    """
    order = np.argsort(-scores, kind="stable")
    entries: list[Entry] = []
    kept: list[int] = []
    results: list[list[int]] = []
    start = 0
    while start < len(order) and len(results) < k:
        end = min(start + max(READ, READ_FACTOR * k), len(order))
        while end < len(order) and scores[order[end]] == scores[order[end - 1]]:
            end += 1
        block = order[start:end]
        read = zip(block, store.entries([ids[row] for row in block]), strict=True)
        found = [(int(row), entry) for row, entry in read if entry is not None]
        # Path and chunk decide between equal scores.
        for row, entry in sorted(found, key=lambda one: (-scores[one[0]], one[1].path, one[1].chunk)):
            kept.append(row)
            entries.append(entry)
        results, start = merge(entries, k), end
    hits = []
    for rank, result in enumerate(results, start=1):
        best, row = entries[result[0]], kept[result[0]]
        place = joined([entries[number] for number in result])
        both = [float(part[row]) for part in parts] if parts else []
        hits.append(Hit(rank, float(scores[row]), best.path, best.modality, *place, *both))
    return hits


def _check(model: Model, mode: str, k: int) -> tuple[str, str]:
    """The tasks of `mode`: (query, document). Raises ItemError for an argument that means nothing."""
    if mode not in model.search_modes:
        raise ItemError(f"unknown search mode {mode!r}: choose one of {', '.join(model.search_modes)}")
    if k < 1:
        raise ItemError(f"k is {k}: ask for at least one result")
    return model.search_modes[mode]
