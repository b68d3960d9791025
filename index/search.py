"""Search under any mode over base vectors that were stored once.

The cosine of a query vector q with a mapped document is (Wᵀq)·b / ‖W b‖. So the index is asked for the largest
(Wᵀq)·b, more of them than are wanted, and those are scored exactly with the mapper. Neighbours are then merged.
"""

from dataclasses import dataclass

import numpy as np

from unbraid.errors import ItemError
from unbraid.index.model import Model, Vectors
from unbraid.index.neighbours import joined, merge
from unbraid.index.store import Store
from unbraid.items import MODALITIES, Item, Modality
from unbraid.vectors import fold

FETCH = 200  # candidates at least, and FETCH_FACTOR per result wanted
FETCH_FACTOR = 20


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
    store: Store,
    model: Model,
    query: Item,
    *,
    mode: str = "retrieval",
    k: int = 10,
    modality: Modality | None = None,
) -> list[Hit]:
    """The `k` best hits for a text, code snippet or picture, best first; `modality` keeps one kind only.

    Raises ItemError for a mode the model does not have and for a query that cannot be encoded.
    """
    _check(model, mode, k, modality)
    return search_vector(
        store, model, model.encode([query], progress=False)[0], mode=mode, k=k, modality=modality
    )


def search_vector(
    store: Store,
    model: Model,
    base: Vectors,
    *,
    mode: str = "retrieval",
    k: int = 10,
    modality: Modality | None = None,
) -> list[Hit]:
    """`search` for a query that is a base vector [dim] already: another mode costs no encoding."""
    query_task, document_task = _check(model, mode, k, modality)
    q = model.map(base.reshape(1, -1), query_task)[0]
    entries, vectors = store.nearest(
        fold(model.matrix(document_task), q), max(FETCH, FETCH_FACTOR * k), modality
    )
    if not entries:
        return []
    scores = [float(score) for score in np.asarray(model.map(vectors, document_task) @ q)]
    # Path and chunk decide between equal scores. Rounded, since a matrix product gives two identical rows
    # scores that differ in the last bit.
    order = sorted(
        range(len(entries)), key=lambda i: (-round(scores[i], 6), entries[i].path, entries[i].chunk)
    )
    entries, scores = [entries[i] for i in order], [scores[i] for i in order]
    hits = []
    for rank, result in enumerate(merge(entries, k), start=1):
        best = result[0]
        place = joined([entries[i] for i in result])
        hits.append(Hit(rank, scores[best], entries[best].path, entries[best].modality, *place))
    return hits


def _check(model: Model, mode: str, k: int, modality: Modality | None) -> tuple[str, str]:
    """The tasks of `mode`: (query, document). Raises ItemError for an argument that means nothing."""
    if mode not in model.search_modes:
        raise ItemError(f"unknown search mode {mode!r}: choose one of {', '.join(model.search_modes)}")
    if k < 1:
        raise ItemError(f"k is {k}: ask for at least one result")
    if modality is not None and modality not in MODALITIES:
        raise ItemError(f"unknown modality {modality!r}: choose one of {', '.join(MODALITIES)}")
    return model.search_modes[mode]
