"""The encoder of every worker: a bundle or a teacher by name, loaded once in each process."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from unbraid.cluster.row_items import Encode
from unbraid.custom_mapper.mapper_file import SUFFIX, read_mapper
from unbraid.io.vector_file import provenance
from unbraid.loading import load
from unbraid.vectors import Numbers, store_as

TEACHER_SIDE = 1024  # pixels that a decoded JPEG's longer side keeps at least; no teacher here needs more


@dataclass(frozen=True)
class EncoderSpec:
    """The options that decide the vectors. Every node must find the same files under these names and paths.

    Without `teacher` the bundle `model` encodes, and without `task` its base vectors; a teacher needs a task.
    """

    model: str | None = None
    tier: str | None = None  # None: each text goes to the tier for its language
    language: str | None = None  # of all texts; None: found in each of them
    teacher: str | None = None
    task: str | None = None
    side: str | None = None  # of a task that is a mapper file
    dim: int | None = None
    numbers: Numbers = "float32"


@dataclass(frozen=True)
class LoadedEncoder:
    """`encode` returns vectors [n, d] of the type of `empty` [0, d]; `about` is their provenance.

    Pictures given as bytes are to be decoded with `at_least`, as `encode` decodes files.
    """

    encode: Encode
    empty: np.ndarray
    about: Mapping[str, Any]
    at_least: int | None


@lru_cache(1)
def load_encoder(spec: EncoderSpec) -> LoadedEncoder:
    """The encoder of a spec. Raises UnbraidError when the model, its task or its dim is refused."""
    return _student(spec) if spec.teacher is None else _teacher(spec, spec.teacher)


def _student(spec: EncoderSpec) -> LoadedEncoder:
    embedder = load(spec.model, threads=1, tier=spec.tier, language=spec.language)
    task = spec.task
    if task is not None and task.endswith(SUFFIX):
        custom = read_mapper(Path(task))
        embedder, task = embedder.with_mapper(custom), custom.task(spec.side)

    def encode(items: Any) -> np.ndarray:
        return embedder.encode(items, task=task, dim=spec.dim, numbers=spec.numbers, progress=False)

    empty = encode([])  # refuses an unknown task or dimension
    about = {
        **provenance(embedder, task, spec.numbers),
        "bundle_id": embedder.bundle.id,
        "tier": ", ".join(embedder.tiers),
        "language": spec.language,
    }
    image = embedder.bundle.image
    return LoadedEncoder(encode, empty, about, image.preprocess.at_least if image else None)


def _teacher(spec: EncoderSpec, name: str) -> LoadedEncoder:
    from unbraid.teacher import load as load_teacher

    teacher, task = load_teacher(name), spec.task or ""

    def encode(items: Any) -> np.ndarray:
        return store_as(teacher.encode(items, task, dim=spec.dim), spec.numbers)

    about = {
        "teacher": teacher.id,
        "about": dict(teacher.about),
        "task": task,
        "route": teacher.routes.get(task),
        "numbers": spec.numbers,
    }
    return LoadedEncoder(encode, encode([]), about, TEACHER_SIDE)
