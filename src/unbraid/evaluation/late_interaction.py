"""Scores of late interaction: every document of a set ranked by MaxSim over token vectors, for a bundle and for a teacher."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from unbraid.errors import ItemError
from unbraid.evaluation.datasets.dataset import Retrieval, Sts, sample
from unbraid.evaluation.evaluate import Row, retrieval_scores
from unbraid.evaluation.metrics import Scorer
from unbraid.multi_vector.maxsim import DocumentTokens
from unbraid.multi_vector.token_vectors import TokenVectors, pool

Vectors = NDArray[np.float32]
# Items and a task -> for each item unit vectors [tokens, D].
TeacherTokens: TypeAlias = Callable[[Sequence[Any], str], Sequence[Vectors]]


class Model(Protocol):
    """A bundle's multi-vectors, as `Embedder` has them."""

    @property
    def name(self) -> str:
        """Name shown in the table."""

    @property
    def tier(self) -> str:
        """The tier that encodes both sides."""

    def token_vectors(
        self, items: Sequence[Any], *, tier: str, pruned: bool = True, progress: bool | None = None
    ) -> list[TokenVectors]:
        """The token vectors of each item."""


@dataclass(frozen=True)
class Teacher:
    """A teacher's name, its token vectors, and its search modes: mode -> (task of the query, task of the documents)."""

    name: str
    tokens: TeacherTokens
    search_modes: Mapping[str, tuple[str, str]]


def evaluate_multi_vector(
    model: Model,
    dataset: Retrieval | Sts,
    *,
    vectors: int | None = None,
    teacher: Teacher | None = None,
    mode: str | None = None,
    limit: int | None = None,
) -> list[Row]:
    """A row for all token vectors of `model`'s tier, with `vectors` one for at most that many a document; none for STS.

    With a `teacher` its rows in the set's mode, or in `mode`, follow, and each row says its share of the teacher's nDCG@10 with
    all its token vectors. `limit` is that of `evaluate`. Raises ItemError for pictures, for a tier without multi-vectors and for a
    mode that the teacher lacks.
    """
    if limit is not None:
        dataset = sample(dataset, limit)
    if isinstance(dataset, Sts):
        return []
    mode = mode or dataset.mode
    if teacher is not None and mode not in teacher.search_modes:
        raise ItemError(f"{teacher.name} has no search mode {mode!r}, only {', '.join(teacher.search_modes)}")
    start = time.perf_counter()
    # Documents first: pictures are refused before any work.
    documents = model.token_vectors(list(dataset.documents.values()), tier=model.tier)
    queries = model.token_vectors(list(dataset.queries.values()), tier=model.tier)
    speed = (len(queries) + len(documents)) / (time.perf_counter() - start)
    rows = late_rows(model.name, None, dataset, queries, [one.vectors for one in documents], vectors)
    rows[0] = replace(rows[0], items_per_s=speed)
    if teacher is None:
        return rows
    own = teacher_rows(teacher.name, teacher.tokens, dataset, mode, teacher.search_modes[mode], vectors)
    whole = own[0].scores["nDCG@10"].value
    return [
        replace(row, of_teacher=row.scores["nDCG@10"].value / whole if whole else None)
        for row in [*rows, *own]
    ]


def teacher_rows(
    name: str,
    encode: TeacherTokens,
    dataset: Retrieval,
    mode: str,
    tasks: tuple[str, str],
    vectors: int | None,
) -> list[Row]:
    """Rows of a teacher's late interaction in a search mode."""
    queries = equally(encode(list(dataset.queries.values()), tasks[0]))
    documents = encode(list(dataset.documents.values()), tasks[1])
    return late_rows(name, mode, dataset, queries, documents, vectors)


def equally(queries: Sequence[Vectors]) -> list[TokenVectors]:
    """Queries of a teacher [tokens, D], whose tokens all count the same, as it was trained."""
    return [TokenVectors(one, np.ones(len(one), np.float32), np.arange(len(one))) for one in queries]


def late_rows(
    name: str,
    mode: str | None,
    dataset: Retrieval,
    queries: Sequence[TokenVectors],
    documents: Sequence[Vectors],
    vectors: int | None,
) -> list[Row]:
    """A row for all vectors of the documents, and with `vectors` one for at most that many of each."""
    forms = {f"{name}, multi-vector": documents}
    if vectors is not None:
        forms[f"{name}, multi-vector, {vectors} a document"] = [pool(one, vectors) for one in documents]
    return [
        Row(
            dataset.name,
            dataset.document_modality,
            system,
            mode,
            len(queries),
            len(documents),
            retrieval_scores(dataset, by_maxsim(queries, some)),
        )
        for system, some in forms.items()
    ]


def by_maxsim(queries: Sequence[TokenVectors], documents: Sequence[Vectors]) -> Scorer:
    """MaxSim of each query with all documents, [tokens, D] each."""
    stacked = DocumentTokens(documents)
    return lambda rows: np.stack([stacked.maxsim(query) for query in queries[rows]])
