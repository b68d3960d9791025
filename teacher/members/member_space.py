"""How the members' vectors become one: centred, normalized, weighted, side by side, and projected to 512 dimensions.

**An absent member.** A member that reads English alone has no vector of a text in another language without an English
side. A linear map predicts its block from the members that read the text; it is fitted to the items that all members
read. A block of zeros would push such texts into a corner of their own, far from the English texts that say the same.
A block cannot be masked, because the projection mixes all blocks. docs/experiments.md has the comparison.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from unbraid.errors import DataError
from unbraid.io.atomic import write_atomic
from unbraid.vectors import normalize

FORMAT = "1"
LEAST_LENGTH = 1e-6  # of a centred vector; below, it is the mean and says nothing


@dataclass(frozen=True)
class MemberScale:
    """What the space knows of one member.

    `id` is that of the teacher that made the vectors. `means` holds the mean of its unit vectors over the training items,
    by route. An `optional` member has no vector of some items.
    """

    name: str
    id: str
    dim: int
    weight: float
    optional: bool
    means: Mapping[str, np.ndarray]  # float32 [dim]


@dataclass(frozen=True)
class MemberSpace:
    """`fill` float32 [optional dims, other dims] predicts absent blocks; `projection` float32 [512, all dims].

    The rows of the projection are orthonormal and ordered by energy, so a prefix is the best shorter code (PCA).
    """

    members: tuple[MemberScale, ...]
    fill: np.ndarray
    projection: np.ndarray

    @property
    def id(self) -> str:
        """Changes whenever a vector would: sixteen hexadecimal digits of members, weights, means, fill, projection."""
        whole = hashlib.sha256(
            self._about().encode()
        )  # not the file's bytes: safetensors orders its header freely
        for name, tensor in sorted(self._tensors().items()):
            whole.update(f"{name} {tensor.shape} ".encode())
            whole.update(np.ascontiguousarray(tensor, "<f4").tobytes())
        return whole.hexdigest()[:16]

    @property
    def dim(self) -> int:
        """Dimensions of the joined vectors."""
        return len(self.projection)

    def join(
        self,
        vectors: Mapping[str, np.ndarray],
        routes: Mapping[str, str],
        present: Mapping[str, np.ndarray] | None = None,
    ) -> np.ndarray:
        """Vectors float32 [n, 512], unit length, of the members' `vectors` [n, dim] by their `routes`.

        `present` bool [n] is False in rows for which an optional member has no vector; the numbers there are ignored.
        Raises DataError for a member that is missing or unknown, for another dimension or number of rows, for a route
        without a mean, and for a member that is absent and not optional.
        """
        return normalize(self.joined(vectors, routes, present) @ self.projection.T)

    def joined(
        self,
        vectors: Mapping[str, np.ndarray],
        routes: Mapping[str, str],
        present: Mapping[str, np.ndarray] | None = None,
    ) -> np.ndarray:
        """The weighted blocks side by side before the projection: float32 [n, sum of dims]. Raises as `join`."""
        self._check(vectors, routes)
        blocks = {one.name: centered(vectors[one.name], one.means[routes[one.name]]) for one in self.members}
        rows = len(next(iter(blocks.values())))
        known = self._known(present or {}, rows)
        if not all(known[name].all() for name in known):
            self._predict(blocks, known)
        # Every block has its weight as its length, so this scale makes the whole unit.
        scale = math.sqrt(sum(one.weight**2 for one in self.members))
        return np.concatenate([blocks[one.name] * (one.weight / scale) for one in self.members], axis=1)

    def save(self, path: Path) -> None:
        """Write the space as one safetensors file, whole or not at all. Raises OSError."""
        write_atomic(path, save(self._tensors(), metadata={"format": FORMAT, "members": self._about()}))

    def _predict(self, blocks: dict[str, np.ndarray], known: Mapping[str, np.ndarray]) -> None:
        """Write the predicted blocks into the rows where a member is absent."""
        given = np.concatenate([blocks[one.name] for one in self.members if not one.optional], axis=1)
        start = 0
        for one in self.members:
            if not one.optional:
                continue
            part = self.fill[start : start + one.dim]
            start += one.dim
            if (absent := ~known[one.name]).any():
                blocks[one.name][absent] = normalize(given[absent] @ part.T)

    def _known(self, present: Mapping[str, np.ndarray], rows: int) -> dict[str, np.ndarray]:
        known = {}
        for one in self.members:
            known[one.name] = np.asarray(present.get(one.name, np.ones(rows, bool)))
            if known[one.name].shape != (rows,):
                raise DataError(f"{one.name}: present has shape {known[one.name].shape}, expected ({rows},)")
            if not one.optional and not known[one.name].all():
                missing = int((~known[one.name]).sum())
                raise DataError(
                    f"{one.name} is absent in {missing} of {rows} items, and it reads every language"
                )
        return known

    def _check(self, vectors: Mapping[str, np.ndarray], routes: Mapping[str, str]) -> None:
        names = [one.name for one in self.members]
        if missing := [name for name in names if name not in vectors]:
            raise DataError(f"no vectors of {', '.join(missing)}: this space joins {', '.join(names)}")
        if more := sorted(vectors.keys() - set(names)):
            raise DataError(f"vectors of {', '.join(more)}: this space joins {', '.join(names)} alone")
        rows = len(vectors[names[0]])
        for one in self.members:
            if (shape := vectors[one.name].shape) != (rows, one.dim):
                raise DataError(f"{one.name}: vectors have shape {shape}, expected ({rows}, {one.dim})")
            if routes.get(one.name) not in one.means:
                raise DataError(
                    f"{one.name}: route {routes.get(one.name)!r} has no mean here: expected one of"
                    f" {', '.join(one.means)}"
                )

    def _about(self) -> str:
        return json.dumps(
            [[one.name, one.id, one.dim, one.weight, one.optional, sorted(one.means)] for one in self.members]
        )

    def _tensors(self) -> dict[str, np.ndarray]:
        tensors = {"fill": self.fill, "projection": self.projection}
        for one in self.members:
            tensors |= {f"mean.{one.name}.{route}": mean for route, mean in one.means.items()}
        return {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}


def centered(vectors: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Vectors [n, dim] minus `mean`, float32 of unit length; zero where almost nothing is left."""
    apart = vectors.astype(np.float32) - mean
    length = np.linalg.norm(apart, axis=1, keepdims=True)
    unit: np.ndarray = np.where(length > LEAST_LENGTH, apart / np.maximum(length, LEAST_LENGTH), 0)
    return unit


def load_member_space(path: Path) -> MemberSpace:
    """Read what `MemberSpace.save` wrote. Raises DataError for a file that is not one."""
    try:
        with safe_open(path, "numpy") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if about.get("format") != FORMAT:
            raise DataError(f"{path}: format {about.get('format')!r}, expected {FORMAT}: fit the space again")
        members = tuple(
            MemberScale(
                *(name, id, dim, weight, optional),
                means={route: tensors[f"mean.{name}.{route}"] for route in routes},
            )
            for name, id, dim, weight, optional, routes in json.loads(about["members"])
        )
        return MemberSpace(members, tensors["fill"], tensors["projection"])
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: not a member space: {error!r}: fit it again") from error


def check_members(space: MemberSpace, ids: Mapping[str, str], dims: Mapping[str, int]) -> None:
    """Raise DataError unless the members at hand, their `ids` and `dims` by name, are those of `space`."""
    for one in space.members:
        if one.name not in ids:
            raise DataError(
                f"member {one.name} is missing: the space was fitted with {_names(space.members)}"
            )
        if dims[one.name] != one.dim:
            raise DataError(f"member {one.name} has {dims[one.name]} dimensions, the space expects {one.dim}")
        if ids[one.name] != one.id:
            raise DataError(
                f"member {one.name} is {ids[one.name]}, the space was fitted to {one.id}: take those weights, or fit"
                " the space again"
            )
    if more := sorted(ids.keys() - {one.name for one in space.members}):
        raise DataError(f"member {', '.join(more)} is not in the space: it has {_names(space.members)}")


def _names(members: Sequence[MemberScale]) -> str:
    return ", ".join(one.name for one in members)
