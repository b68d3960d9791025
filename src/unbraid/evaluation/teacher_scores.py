"""Evaluate every task of a teacher on one data set: what each task gains on its own sets, and loses on others."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from unbraid.evaluation.baselines import minilm
from unbraid.evaluation.datasets.dataset import Retrieval, Sts, sample
from unbraid.evaluation.evaluate import Row, Vectors, retrieval_scores
from unbraid.evaluation.late_interaction import TeacherTokens, teacher_rows
from unbraid.evaluation.metrics import Score, dense, spearman

EncodeTask = Callable[[Sequence[Any], str], Vectors]  # items and a task -> float32 [n, D], unit length


def evaluate_teacher(
    name: str,
    encode: EncodeTask,
    search_modes: Mapping[str, tuple[str, str]],
    dataset: Retrieval | Sts,
    *,
    limit: int | None = None,
    late: TeacherTokens | None = None,
    vectors: int | None = None,
) -> list[Row]:
    """A row for all-MiniLM-L6-v2 (not on pictures), then one for each search mode of the teacher behind `encode`.

    The set's own mode should win; the others show what a task costs elsewhere. With `late` each mode of a retrieval set also has
    a row for late interaction, and with `vectors` one for documents of at most that many.
    """
    if limit is not None:
        dataset = sample(dataset, limit)

    def plain(items: Sequence[Any], task: str) -> Vectors:
        return minilm().encode([str(item) for item in items])

    # MiniLM reads no pictures.
    sees = isinstance(dataset, Sts) or "image" not in (dataset.query_modality, dataset.document_modality)
    rows = [_row(dataset, minilm().name, None, plain, ("", ""))] if sees else []
    for mode, tasks in search_modes.items():
        rows.append(_row(dataset, name, mode, encode, tasks))
        if late is not None and isinstance(dataset, Retrieval):
            rows += teacher_rows(name, late, dataset, mode, tasks, vectors)
    return rows


def _row(
    dataset: Retrieval | Sts, name: str, mode: str | None, encode: EncodeTask, tasks: tuple[str, str]
) -> Row:
    scores: dict[str, Score]
    if isinstance(dataset, Sts):
        a, b = encode(dataset.a, tasks[0]), encode(dataset.b, tasks[1])
        scores = {"Spearman": spearman(np.einsum("nd,nd->n", a, b), np.asarray(dataset.scores))}
        return Row(dataset.name, "sts", name, mode, len(dataset.a), len(dataset.a), scores)
    queries, documents = list(dataset.queries.values()), list(dataset.documents.values())
    scores = retrieval_scores(dataset, dense(encode(queries, tasks[0]), encode(documents, tasks[1])))
    return Row(dataset.name, dataset.document_modality, name, mode, len(queries), len(documents), scores)
