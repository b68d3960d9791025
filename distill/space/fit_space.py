"""Fit the base space to the labels, shard by shard."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from unbraid.distill.labels.label_shard import Labels
from unbraid.distill.labels.label_store import read_shards
from unbraid.distill.space.base_space import BaseSpace, fit_base_space, load_base_space
from unbraid.io.atomic import atomic_file

# Labelled items (every tenth, up to this many) that neither space nor read-outs are fitted to.
HELD_OUT = 4096

Vectors = Mapping[str, np.ndarray]  # the teacher's vectors [n, dim] of each route


def fit_space(labels: Path, run: Path, *, seed: int) -> BaseSpace:
    """The base space of the store in `labels`, written to run/base_space.safetensors.

    An existing file is kept, because students of `run` may have been trained for it. Raises DataError as `read_shards`
    does.
    """
    path = run / "base_space.safetensors"
    if not path.exists():
        space = fitted_space(labels, seed=seed)
        run.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as unfinished:
            space.save(unfinished)
    return load_base_space(path)


def fitted_space(labels: Path, *, seed: int) -> BaseSpace:
    """The base space of the store in `labels`, fitted to all but its held-out items. Raises as `read_shards` does."""
    return fit_base_space((fitted for fitted, _ in split(read_shards(labels))), seed=seed)


def split(shards: Iterable[Labels]) -> Iterator[tuple[Vectors, Vectors]]:
    """For each shard, the vectors to fit to and the held-out vectors."""
    seen = 0
    for shard in shards:
        rows = np.arange(seen, seen + len(shard.keys))
        held = (rows % 10 == 9) & (rows < 10 * HELD_OUT)
        seen += len(rows)
        yield (
            {route: vectors[~held] for route, vectors in shard.vectors.items()},
            {route: vectors[held] for route, vectors in shard.vectors.items()},
        )
