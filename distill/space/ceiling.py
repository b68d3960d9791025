"""The ceiling: how much of each task a base vector can hold at most.

The base vectors are made of the teacher's own vectors, and no student can do better. A read-out is the best linear map
from a prefix of them to the task vectors, so no linear mapper can do better. Both are fitted on all but the held-out
items and measured on those, or on labelled data sets.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from unbraid.distill.labels.label_shard import Labels
from unbraid.distill.space.base_space import BaseSpace, stack
from unbraid.distill.space.fit_space import split
from unbraid.distill.space.task_space import DIM, task_target, task_vectors
from unbraid.errors import DataError
from unbraid.evaluation import Retrieval, Row, Sts
from unbraid.evaluation.evaluate import retrieval_scores
from unbraid.evaluation.metrics import Score, dense, spearman
from unbraid.items import Item
from unbraid.progress import track
from unbraid.ridge import ridge
from unbraid.tasks import SEARCH_MODES
from unbraid.teacher import Teacher

DIMS = (512, 256, 128, 64)
FITTED = 32_768  # items that the read-outs are fitted to: 64 for each of their 512 inputs
STRENGTH = 1e-6  # ridge penalty an item: needed only where fewer than 512 dimensions are stacked
NEIGHBOURS = 10
CHUNK = 512  # items between two steps of the progress

Vectors: TypeAlias = Mapping[str, np.ndarray]  # the teacher's vectors [n, dim] of each route


@dataclass(frozen=True)
class ReadOuts:
    """`weights` float32 [512, dim] take the first `dim` dimensions of a base vector to a route's task vector."""

    space: BaseSpace
    weights: Mapping[tuple[str, int], np.ndarray]

    def read(self, base: np.ndarray, route: str, dim: int) -> np.ndarray:
        """Task vectors float32 [n, 512], unit length, of base vectors [n, 512]."""
        task = base[:, :dim] @ self.weights[route, dim].T
        unit: np.ndarray = task / np.linalg.norm(task, axis=1, keepdims=True)
        return unit


@dataclass(frozen=True)
class RouteCeiling:
    """What the base keeps of one route's task vectors on held-out items, by dimensions of the base."""

    route: str
    items: int
    energy: Mapping[int, float]  # share of their energy that the projection keeps
    cosine: Mapping[int, float]  # mean, of read-out and task vector
    top10: Mapping[int, float]  # share of the ten nearest items that the read-out finds too
    base_top10: float  # the same for the base vectors without a read-out


def fit_read_outs(shards: Iterable[Labels], space: BaseSpace) -> tuple[ReadOuts, Vectors]:
    """Read-outs of every route and prefix, and the teacher's vectors of the held-out items.

    Raises DataError when fewer than two items are held out: it takes twenty labelled ones.
    """
    fitted, held = _rows(shards, space.routes)
    if len(held[space.routes[0]]) < 2:
        raise DataError("a ceiling needs at least 20 labelled items, a tenth of which is held out")
    base = space.project(fitted)
    weights = {
        (route, dim): ridge(base[:, :dim], task_target(fitted[route]), STRENGTH * len(base)).astype(
            np.float32
        )
        for route in space.routes
        for dim in DIMS
    }
    return ReadOuts(space, weights), held


def route_ceilings(read_outs: ReadOuts, held: Vectors) -> list[RouteCeiling]:
    """The ceiling of every route on `held`, the teacher's vectors of items that nothing was fitted to."""
    space = read_outs.space
    base = space.project(held)
    energy = {dim: _energy_kept(space, held, dim) for dim in DIMS}
    ceilings = []
    for route in track(space.routes, "ceiling", unit="routes"):
        target = task_target(held[route])
        near = _nearest(target)
        read = {dim: read_outs.read(base, route, dim) for dim in DIMS}
        ceilings.append(
            RouteCeiling(
                route,
                items=len(target),
                energy={dim: kept[route] for dim, kept in energy.items()},
                cosine={dim: float((found * target).sum(1).mean()) for dim, found in read.items()},
                top10={dim: _shared(_nearest(found), near) for dim, found in read.items()},
                base_top10=_shared(_nearest(base), near),
            )
        )
    return ceilings


def dataset_rows(dataset: Retrieval | Sts, teacher: Teacher, read_outs: ReadOuts) -> list[Row]:
    """Scores of the teacher in the set's own search mode, of the base vectors alone, and of the read-outs at each prefix.

    Every item is encoded once for each route, because its base vector is made of all of them.
    """
    mode = "symmetric" if isinstance(dataset, Sts) else dataset.mode
    left, right = _sides(dataset)
    unique = {
        (type(item), item): item for item in (*left, *right)
    }  # Code("x") == "x", but they are two items
    vectors = _encode(list(unique.values()), teacher, read_outs.space.routes)
    place = {key: row for row, key in enumerate(unique)}
    rows = [[place[type(item), item] for item in side] for side in (left, right)]
    base = read_outs.space.project(vectors)
    routes = [teacher.routes[task] for task in SEARCH_MODES[mode]]

    def row(system: str, mode: str | None, query: np.ndarray, document: np.ndarray) -> Row:
        kind = "sts" if isinstance(dataset, Sts) else dataset.document_modality
        scores = _scores(dataset, query[rows[0]], document[rows[1]])
        return Row(dataset.name, kind, system, mode, len(left), len(right), scores)

    whole = [vectors[route] for route in routes]
    found = [row(f"teacher, {teacher.dim} dims", mode, whole[0], whole[1])]
    if teacher.dim > DIM:
        first = [task_target(one) for one in whole]
        found.append(row(f"teacher, {DIM} dims", mode, first[0], first[1]))
    found.append(row(f"base alone, {DIM} dims", None, base, base))
    for dim in DIMS:
        read = [read_outs.read(base, route, dim) for route in routes]
        found.append(row(f"base + read-out, {dim} dims", mode, read[0], read[1]))
    return found


def _rows(shards: Iterable[Labels], routes: Sequence[str]) -> tuple[Vectors, Vectors]:
    """The items to fit to, as many as read-outs need, and all held-out items."""
    fitted: list[Vectors] = []
    held: list[Vectors] = []
    count = 0
    for one, other in split(shards):
        fitted.append({route: found[: FITTED - count] for route, found in one.items()})
        count += len(fitted[-1][routes[0]])
        held.append(other)
    return (
        {route: np.concatenate([part[route] for part in fitted]) for route in routes},
        {route: np.concatenate([part[route] for part in held]) for route in routes},
    )


def _energy_kept(space: BaseSpace, vectors: Vectors, dim: int) -> dict[str, float]:
    """Share of each route's energy that remains when the stacks are rebuilt from `dim` dimensions of the base.

    The rows of the projection are orthonormal, so its transpose takes a base back to the nearest stack.
    """
    stacked = stack(vectors, space.routes)
    lost = stacked - stacked @ space.projection[:dim].T @ space.projection[:dim]
    widths = [task_vectors(vectors[route][:1]).shape[1] for route in space.routes]
    parts = np.split(lost, np.cumsum(widths)[:-1], axis=1)
    return {
        route: 1 - float((part**2).sum(1).mean()) for route, part in zip(space.routes, parts, strict=True)
    }


def _nearest(vectors: np.ndarray) -> np.ndarray:
    """Rows of the ten (of few: all other) nearest of each unit vector among the others: [n, k]."""
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -np.inf)
    k = min(NEIGHBOURS, len(vectors) - 1)
    nearest: np.ndarray = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    return nearest


def _shared(found: np.ndarray, wanted: np.ndarray) -> float:
    """Share of `wanted` [n, k] that is in the same row of `found` [n, k]."""
    return float(np.mean([np.isin(row, other).mean() for row, other in zip(wanted, found, strict=True)]))


def _sides(dataset: Retrieval | Sts) -> tuple[list[Item], list[Item]]:
    if isinstance(dataset, Sts):
        return list(dataset.a), list(dataset.b)
    return list(dataset.queries.values()), list(dataset.documents.values())


def _scores(dataset: Retrieval | Sts, query: np.ndarray, document: np.ndarray) -> dict[str, Score]:
    if isinstance(dataset, Sts):
        return {"Spearman": spearman((query * document).sum(1), np.asarray(dataset.scores))}
    return retrieval_scores(dataset, dense(query, document))


def _encode(items: Sequence[Item], teacher: Teacher, routes: Sequence[str]) -> dict[str, np.ndarray]:
    """The teacher's vectors of `items` by each of `routes`."""
    task_of = {route: task for task, route in teacher.routes.items()}
    chunks = [items[start : start + CHUNK] for start in range(0, len(items), CHUNK)]
    return {
        route: np.concatenate(
            [teacher.encode(chunk, task_of[route]) for chunk in track(chunks, route, unit=f"x {CHUNK} items")]
        )
        for route in routes
    }
