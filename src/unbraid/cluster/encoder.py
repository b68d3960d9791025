"""What encodes on every worker: a student or a teacher by name, loaded once a process."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from unbraid.bundle import SMALL
from unbraid.cluster.row_items import Encode
from unbraid.custom_mapper.mapper_file import SUFFIX, read_mapper
from unbraid.io.vector_file import provenance
from unbraid.loading import load
from unbraid.vectors import VectorPrecision, store_as


@dataclass(frozen=True)
class EncoderSpec:
    """What decides the vectors. Every node has to find the same under `model` or `teacher`, and under a mapper's path.

    Without `teacher` it is the bundle `model`, and without `task` its base vectors; a teacher needs a task.
    """

    model: str | None = None
    tier: str = SMALL
    teacher: str | None = None
    task: str | None = None
    side: str | None = None  # of a task that is a mapper file
    dim: int | None = None
    precision: VectorPrecision = "float32"


@dataclass(frozen=True)
class LoadedEncoder:
    """`encode` gives vectors [n, d] of the shape and type of `empty` [0, d]; `about` is where they come from."""

    encode: Encode
    empty: np.ndarray
    about: Mapping[str, Any]


@lru_cache(1)
def load_encoder(spec: EncoderSpec) -> LoadedEncoder:
    """The encoder of a spec; raises whatever its loading, its task or its dimension is refused with."""
    return _student(spec) if spec.teacher is None else _teacher(spec, spec.teacher)


def _student(spec: EncoderSpec) -> LoadedEncoder:
    embedder = load(spec.model, threads=1, tier=spec.tier)
    task = spec.task
    if task is not None and task.endswith(SUFFIX):
        own = read_mapper(Path(task))
        embedder, task = embedder.with_mapper(own), own.task(spec.side)

    def encode(items: Any) -> np.ndarray:
        return embedder.encode(items, task=task, dim=spec.dim, precision=spec.precision, progress=False)

    empty = encode([])  # refuses an unknown task or dimension
    about = {
        **provenance(embedder, task, spec.precision),
        "bundle_id": embedder.bundle.id,
        "tier": spec.tier,
    }
    return LoadedEncoder(encode, empty, about)


def _teacher(spec: EncoderSpec, name: str) -> LoadedEncoder:
    from unbraid.teacher import load as load_teacher

    teacher, task = load_teacher(name), spec.task or ""

    def encode(items: Any) -> np.ndarray:
        return store_as(teacher.encode(items, task, dim=spec.dim), spec.precision)

    about = {
        "teacher": teacher.id,
        "about": dict(teacher.about),
        "task": task,
        "route": teacher.routes.get(task),
        "precision": spec.precision,
    }
    return LoadedEncoder(encode, encode([]), about)
