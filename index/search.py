"""Search under any mode over base vectors that were stored once.

The cosine of a query vector q with a mapped document is (Wᵀq)·b / ‖W b‖. So the index is asked for the largest
(Wᵀq)·b, more of them than are wanted, and those are scored exactly with the mapper. Neighbours are then merged.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unbraid.errors import ItemError
from unbraid.index.collection import Collection
from unbraid.index.entry import Entry
from unbraid.index.model import Model, Vectors
from unbraid.index.neighbours import joined, merge
from unbraid.index.only import ANYTHING, Only
from unbraid.items import Item, Modality
from unbraid.vectors import fold

FETCH = 200  # candidates at least, and FETCH_FACTOR per result wanted
FETCH_FACTOR = 20
READ = 50  # entries read and checked at a time, going down the ranking, and READ_FACTOR per result wanted
READ_FACTOR = 5


@dataclass(frozen=True)
class Hit:
    """One result: a chunk, or up to three neighbouring ones of a file.

    `score` is the best chunk's cosine in the task space. Lines count from 1; they are pages for a PDF, None for a
    picture.
    """

    rank: int
    score: float
    path: str
    modality: Modality
    first_line: int | None
    last_line: int | None
    snippet: str


def search(
    store: Collection,
    model: Model,
    queries: Sequence[Item],
    *,
    mode: str = "retrieval",
    k: int = 10,
    only: Only = ANYTHING,
) -> list[list[Hit]]:
    """The `k` best hits for each text, code snippet or picture, best first, among the chunks that `only` lets through.

    Raises ItemError for a mode the model does not have and for a query that cannot be encoded.
    """
    _check(model, mode, k)
    return search_vectors(store, model, model.encode(queries, progress=False), mode=mode, k=k, only=only)


def search_vectors(
    store: Collection,
    model: Model,
    base: Vectors,
    *,
    mode: str = "retrieval",
    k: int = 10,
    only: Only = ANYTHING,
) -> list[list[Hit]]:
    """`search` for queries that are base vectors [n, dim] already: another mode costs no encoding."""
    query_task, document_task = _check(model, mode, k)
    if not len(base):
        return []
    queries = model.map(base, query_task)
    folded = fold(model.matrix(document_task), queries)
    candidates = store.nearest(folded, max(FETCH, FETCH_FACTOR * k), only)
    documents = model.map(np.concatenate([rows for _, rows in candidates]), document_task)
    results, start = [], 0
    for query, (ids, rows) in zip(queries, candidates, strict=True):
        # Rounded, since a matrix product gives two identical rows scores that differ in the last bit.
        scores = np.round(documents[start : start + len(rows)] @ query, 6)
        start += len(rows)
        results.append(_hits(store, ids, scores, k))
    return results


def _hits(store: Collection, ids: Sequence[str], scores: np.ndarray, k: int) -> list[Hit]:
    """The `k` best results from candidates and their scores [n]; only the entries that are needed are read."""
    order = np.argsort(-scores, kind="stable")
    entries: list[Entry] = []
    kept: list[float] = []
    results: list[list[int]] = []
    start = 0
    while start < len(order) and len(results) < k:
        end = min(start + max(READ, READ_FACTOR * k), len(order))
        while end < len(order) and scores[order[end]] == scores[order[end - 1]]:
            end += 1
        block = order[start:end]
        read = zip(scores[block], store.entries([ids[row] for row in block]), strict=True)
        found = [(float(score), entry) for score, entry in read if entry is not None]
        # Path and chunk decide between equal scores.
        for score, entry in sorted(found, key=lambda one: (-one[0], one[1].path, one[1].chunk)):
            kept.append(score)
            entries.append(entry)
        results, start = merge(entries, k), end
    return [
        Hit(
            rank,
            kept[result[0]],
            entries[result[0]].path,
            entries[result[0]].modality,
            *joined([entries[row] for row in result]),
        )
        for rank, result in enumerate(results, start=1)
    ]


def _check(model: Model, mode: str, k: int) -> tuple[str, str]:
    """The tasks of `mode`: (query, document). Raises ItemError for an argument that means nothing."""
    if mode not in model.search_modes:
        raise ItemError(f"unknown search mode {mode!r}: choose one of {', '.join(model.search_modes)}")
    if k < 1:
        raise ItemError(f"k is {k}: ask for at least one result")
    return model.search_modes[mode]
