"""Scores of vectors in each storage form: what shorter and coarser vectors lose."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from unbraid.evaluation.metrics import Scorer, dense
from unbraid.vectors import candidates, fold, normalize, store_as

DIMS = (256, 128, 64)
RESCORED = 100  # candidates of a binary search
LAST = -2.0  # below every cosine

Vectors = NDArray[np.float32]


class Mapped(Protocol):
    """What the storage forms need of a model."""

    def map(self, base: Vectors, task: str) -> Vectors:
        """Task vectors of base vectors."""

    def matrix(self, task: str) -> Vectors:
        """W [D, D] of a task's mapper."""


def stored_forms(
    model: Mapped, queries: Vectors, documents: Vectors, query_task: str, document_task: str
) -> dict[str, Scorer]:
    """Storage form -> scorer, for base vectors of queries [n, D] and documents [m, D]; queries stay whole.

    Prefixes are of task vectors. int8 and binary are of the documents' base vectors, as an index stores them: they are
    rounded, then mapped; binary vectors only choose the candidates that int8 vectors score.
    """
    wanted = model.map(queries, query_task)
    whole = model.map(documents, document_task)
    rounded = normalize(store_as(documents, "int8").astype(np.float32))
    forms = {
        f"{dim} dims": dense(normalize(wanted[:, :dim]), normalize(whole[:, :dim]))
        for dim in DIMS
        if dim < whole.shape[1]
    }
    forms["int8"] = dense(wanted, model.map(rounded, document_task))
    forms[f"binary, {RESCORED} re-scored in int8"] = _rescored(model, wanted, rounded, document_task)
    return forms


def _rescored(model: Mapped, wanted: Vectors, rounded: Vectors, task: str) -> Scorer:
    """Cosines of the candidates that the signs choose; other documents come last."""
    weight, codes = model.matrix(task), store_as(rounded, "binary")

    def scores(rows: slice) -> Vectors:
        block = np.full((len(wanted[rows]), len(rounded)), LAST, dtype=np.float32)
        for place, query in enumerate(wanted[rows]):
            chosen = candidates(fold(weight, query), codes, RESCORED)
            block[place, chosen] = model.map(rounded[chosen], task) @ query
        return block

    return scores
