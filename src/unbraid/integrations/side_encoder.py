"""What every integration encodes with: a model that is loaded once, and the task of each side of a search."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from unbraid.bundle import STARTER
from unbraid.custom_mapper.mapper_file import SUFFIX, read_mapper
from unbraid.embedder import Embedder
from unbraid.errors import BundleError, ItemError
from unbraid.items import Code
from unbraid.loading import load
from unbraid.runtime.preprocess import decode
from unbraid.runtime.routing import Side, query_side

PICTURES = 8  # files decoded at a time: a picture may take 150 MB
_loading = Lock()


@cache
def _load(model: str) -> Embedder:
    return load(model)


@cache
def _load_mode(model: str, mode: str) -> tuple[Embedder, str]:
    """The embedder, and the name of a search mode that it has."""
    if not mode.endswith(SUFFIX):
        return _load(model), mode
    mapper = read_mapper(Path(mode))
    return _load(model).with_mapper(mapper), mapper.name


@dataclass(frozen=True)
class SideEncoder:
    """Encodes the queries and the documents of one search mode, each for its own task.

    `model` is what `unbraid.load` takes: "starter", a bundle folder or a hub id. `mode` is one of the model's search modes
    ("retrieval", "symmetric", "code") or the path of a .mapper file. `dim` cuts vectors to a prefix. `tier` encodes every
    text in place of the tier for its language. `space` is the id of the space that stored vectors lie in. The model is
    loaded when it is first needed and shared by all encoders of a process, in any thread.
    """

    model: str = STARTER.name
    mode: str = "retrieval"
    dim: int | None = None
    tier: str | None = None
    space: str | None = None

    def __post_init__(self) -> None:
        """Make paths absolute: a stored configuration is read in another working folder too."""
        if self.model != STARTER.name and os.path.isdir(self.model):
            object.__setattr__(self, "model", os.path.abspath(self.model))
        if self.mode.endswith(SUFFIX):
            object.__setattr__(self, "mode", os.path.abspath(self.mode))

    def queries(self, items: Iterable[Any]) -> np.ndarray:
        """Vectors float32 [n, dims] of queries: texts, unbraid.Code, pictures (a path, a PIL image, a file's bytes) or a Mix.

        Raises BundleError when the model gives vectors of another `space`, and what `Embedder.encode` raises.
        """
        return self._encode(list(items), "query")

    def documents(self, items: Iterable[Any]) -> np.ndarray:
        """Vectors float32 [n, dims] of documents, as `queries`. In mode "code" a text is code."""
        items = list(items)
        if self.mode == "code":
            items = [Code(item) if isinstance(item, str) else item for item in items]
        return self._encode(items, "document")

    @property
    def dims(self) -> int:
        """Length of a vector."""
        return self.dim or self._opened()[0].dim

    def config(self) -> dict[str, Any]:
        """What makes the same vectors again, for JSON: the options and the space. `SideEncoder(**config)` reads it."""
        embedder, (_, task) = self._opened()
        return {**asdict(self), "space": _space(embedder, task)}

    def _opened(self) -> tuple[Embedder, tuple[str, str]]:
        """The embedder, and the tasks of queries and of documents."""
        with _loading:
            embedder, mode = _load_mode(self.model, self.mode)
        if mode not in embedder.search_modes:
            known = ", ".join(embedder.search_modes)
            raise ItemError(f"unknown mode {mode!r}: {embedder.name} has {known}, or give a {SUFFIX} file")
        tasks = embedder.search_modes[mode]
        if self.space not in (None, found := _space(embedder, tasks[1])):
            raise BundleError(
                f"the stored vectors lie in space {self.space}, and those of {self.model} in {found}: use the model that "
                "made them, or encode the items again"
            )
        return embedder, tasks

    def _encode(self, items: Sequence[Any], side: Side) -> np.ndarray:
        embedder, tasks = self._opened()
        encode: Callable[[Sequence[Any]], np.ndarray] = partial(
            embedder.encode,
            task=tasks[side == "document"],
            dim=self.dim,
            tier=self.tier,
            side=query_side(tasks) if side == "query" else side,
            progress=False,
        )
        if not any(isinstance(item, bytes) for item in items):
            return encode(items)
        groups = [items[start : start + PICTURES] for start in range(0, len(items), PICTURES)]
        return np.concatenate([encode([_decoded(item) for item in group]) for group in groups])


def _space(embedder: Embedder, task: str) -> str:
    return f"{embedder.base_id}-{embedder.bundle.mappers[task].id}"


def _decoded(item: Any) -> Any:
    return decode(item) if isinstance(item, bytes) else item
