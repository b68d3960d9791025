"""The base space: the best linear 512-d code of all the teacher's task vectors at once.

The task vectors of each item are stacked and projected on their principal axes (Eckart-Young), so no other linear 512-d
base keeps more of them. The axes are ordered by energy, then rotated at random *inside* the blocks 0-64, 64-128, 128-256
and 256-512. Every prefix still spans the same leading axes (Matryoshka), and inside a block every dimension carries a
similar share, which int8 and sign codes need. Fewer than 512 stacked dimensions are lifted without loss: the rotation
of the last block spreads them over all of it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from unbraid.distill.space.task_space import DIM, task_vectors

PREFIXES = (64, 128, 256, 512)
BLOCK = 8192  # items held as float64 at once: 134 MB of four routes


@dataclass(frozen=True)
class BaseSpace:
    """`projection` float32 [512, D] takes a stack of the `routes`' task vectors to the base space."""

    projection: np.ndarray
    routes: tuple[str, ...]
    kept: float  # share of the stacks' energy that the projection keeps, 0..1

    def project(self, vectors: Mapping[str, np.ndarray]) -> np.ndarray:
        """Base vectors float32 [n, 512], unit length, of the teacher's vectors [n, dim] by route."""
        base = stack(vectors, self.routes) @ self.projection.T
        unit: np.ndarray = base / np.linalg.norm(base, axis=1, keepdims=True)
        return unit

    def save(self, path: Path) -> None:
        """Write the projection as safetensors, with the routes and the energy kept as its metadata."""
        metadata = {"routes": ",".join(self.routes), "kept": f"{self.kept:.6f}"}
        save_file({"projection": self.projection}, path, metadata=metadata)


def load_base_space(path: Path) -> BaseSpace:
    """Read what `BaseSpace.save` wrote."""
    from safetensors import safe_open

    with safe_open(path, "numpy") as file:
        metadata = file.metadata()
    projection = load_file(path)["projection"]
    return BaseSpace(projection, tuple(metadata["routes"].split(",")), float(metadata["kept"]))


def stack(vectors: Mapping[str, np.ndarray], routes: Iterable[str]) -> np.ndarray:
    """Task vectors of each route side by side: float32 [n, sum of at most 512 a route]."""
    return np.concatenate([task_vectors(vectors[route]) for route in routes], axis=1)


def fit_base_space(shards: Iterable[Mapping[str, np.ndarray]], *, seed: int) -> BaseSpace:
    """Base space of the items of all `shards`, each the teacher's vectors [n, dim] by route, read one at a time.

    No mean is removed: the targets are directions, and centring would change their cosines. Raises ValueError when
    there is no shard.
    """
    routes: tuple[str, ...] = ()
    moment = np.zeros(())  # sum of the stacks' outer products, float64 [D, D]
    for vectors in shards:
        routes = routes or tuple(sorted(vectors))
        for start in range(0, len(vectors[routes[0]]), BLOCK):
            block = {route: vectors[route][start : start + BLOCK] for route in routes}
            stacked = stack(block, routes).astype(np.float64)
            moment = moment + stacked.T @ stacked
    if not moment.ndim:
        raise ValueError("no vectors to fit a base space to")
    energy, axes = np.linalg.eigh(moment)
    order = np.argsort(energy)[::-1][:DIM]
    kept = float(energy[order].sum() / energy.sum())
    projection = np.zeros((DIM, len(moment)))
    projection[: len(order)] = axes[:, order].T
    rng = np.random.default_rng(seed)
    for first, last in zip((0, *PREFIXES), PREFIXES, strict=False):
        turn, _ = np.linalg.qr(rng.standard_normal((last - first, last - first)))
        projection[first:last] = turn @ projection[first:last]
    return BaseSpace(projection.astype(np.float32), routes, kept)
