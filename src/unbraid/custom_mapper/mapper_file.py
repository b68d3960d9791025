"""A `.mapper` file: one or two matrices that were fitted on a base space, and how they were made and scored.

The file is in safetensors format. Tensor `query` float32 [D, D] maps both sides; a second tensor `document` maps the
documents where the sides differ. The metadata entry `unbraid` is a JSON object: `format`, `name`, `base_id`, `about`.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from unbraid.errors import DataError, ItemError
from unbraid.io.atomic import write_atomic

FORMAT = 1
SUFFIX = ".mapper"
IDENTITY = "identity"  # in place of a search mode: base vectors as they are
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True)
class CustomMapper:
    """A search mode that a user fitted: normalize(W b), with one matrix W for both sides or one for each."""

    name: str
    base_id: str  # of the base space that it was fitted on
    query: np.ndarray  # float32 [D, D]
    document: np.ndarray | None = None  # None: `query` maps the documents too
    about: Mapping[str, Any] = field(default_factory=dict)  # how it was made and scored, as JSON

    @property
    def matrices(self) -> dict[str, np.ndarray]:
        """Task -> matrix: the task NAME, or NAME-query and NAME-document where the sides differ."""
        if self.document is None:
            return {self.name: self.query}
        return {f"{self.name}-query": self.query, f"{self.name}-document": self.document}

    @property
    def mode(self) -> tuple[str, str]:
        """Its search mode: (task of the query, task of the documents)."""
        tasks = tuple(self.matrices)
        return tasks[0], tasks[-1]

    def task(self, side: str | None) -> str:
        """The task of `side`, "query" or "document"; None is enough where both sides are the same.

        Raises ItemError when a side is needed and none is given.
        """
        if side is None and self.document is not None:
            raise ItemError(
                f"{self.name} maps queries and documents differently: add --side query or --side document"
            )
        return self.mode[side == "document"]

    def save(self, path: str | Path) -> None:
        """Write a .mapper file. Raises DataError when it cannot be written."""
        from safetensors.numpy import save

        tensors = {"query": self.query} | ({} if self.document is None else {"document": self.document})
        about = {"format": FORMAT, "name": self.name, "base_id": self.base_id, "about": dict(self.about)}
        content = save(
            {side: np.ascontiguousarray(matrix, dtype=np.float32) for side, matrix in tensors.items()},
            metadata={"unbraid": json.dumps(about, ensure_ascii=False)},
        )
        try:
            write_atomic(Path(path), content)
        except OSError as error:
            raise DataError(f"{path}: cannot be written: {error.strerror or error}") from error


def matrix_id(matrix: np.ndarray, base_id: str) -> str:
    """Id of a mapper: a hash of its numbers and of the base space they are for."""
    numbers = np.ascontiguousarray(matrix, dtype="<f4").tobytes()
    return hashlib.sha256(base_id.encode() + numbers).hexdigest()[:16]


def check_name(name: str) -> str:
    """`name` itself when it is a valid name of a mapper. Raises ItemError otherwise."""
    if not NAME.fullmatch(name):
        raise ItemError(
            f"{name!r} is not a name for a mapper: use letters, digits, - and _, and begin with a letter"
        )
    return name


def read_mapper(path: Path) -> CustomMapper:
    """The mapper in a .mapper file; everything is checked. Raises DataError that names the file and the fault."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        if path.exists() and not path.is_file():  # reading a pipe would block
            raise OSError("not a regular file")
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read: {reason}") from error
    try:
        tensors = load(content)
        # `load` gives no metadata: the header is its length in 8 bytes, then JSON.
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        found = json.loads(header["__metadata__"]["unbraid"])
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: not a {SUFFIX} file, or damaged: {error!r}") from error
    fault = _fault(tensors, found)
    if fault:
        raise DataError(f"{path}: {fault}: fit it again with `unbraid mapper fit`")
    return CustomMapper(
        found["name"], found["base_id"], tensors["query"], tensors.get("document"), about=found["about"]
    )


def _fault(tensors: Mapping[str, np.ndarray], found: Any) -> str | None:
    """The fault of a file's content, or None. `found` is whatever the JSON held."""
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        return f"a format that this version of unbraid does not know, it reads format {FORMAT}"
    if not isinstance(found.get("name"), str) or not NAME.fullmatch(found["name"]):
        return f"name {found.get('name')!r} is no name for a mapper"
    if not isinstance(found.get("base_id"), str) or not isinstance(found.get("about"), dict):
        return "base_id or about is missing"
    if set(tensors) not in ({"query"}, {"query", "document"}):
        return f"tensors {sorted(tensors)}, expected query, and document where it differs"
    shape = tensors["query"].shape
    for side, matrix in tensors.items():
        if matrix.dtype != np.float32 or matrix.ndim != 2 or matrix.shape != shape or len(set(shape)) != 1:
            return f"{side} is {matrix.dtype} {list(matrix.shape)}, expected float32 [dim, dim]"
        if not np.isfinite(matrix).all():
            return f"{side} holds numbers that are not finite"
    return None
