"""What the tests of the index share: a model in memory, and stores that are opened or made."""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from unbraid.errors import ImageError
from unbraid.index.protocol import Vectors
from unbraid.index.store.folder_store import FolderStore
from unbraid.index.store.meta import FORMAT, Meta, Provenance
from unbraid.index.store.storage import Storage
from unbraid.items import Item
from unbraid.vectors import normalize


class TinyModel:
    """Words hashed into a unit vector; one matrix per task, the identity where none is given.

    Notes what it encodes in `batches`; `fail` is called before each batch.
    """

    base_id = "fake"
    modalities: tuple[str, ...] = ("text", "code", "image")
    search_modes = MappingProxyType(
        {"retrieval": ("query", "document"), "symmetric": ("symmetric", "symmetric")}
    )

    def __init__(self, dim: int = 16, **matrices: Vectors) -> None:
        self.dim = dim
        self.matrices = matrices
        self.batches: list[list[Item]] = []
        self.fail: Callable[[Sequence[Item]], Any] = lambda items: None

    max_tokens = 254
    multilingual_tier = None

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(re.findall(r"\w{1,5}|[^\w\s]", text)) for text in texts]

    @property
    def encoded(self) -> list[Item]:
        return [item for batch in self.batches for item in batch]

    def encode(
        self,
        items: Sequence[Item],
        *,
        on_truncate: str = "warn",
        progress: bool | None = None,
        side: str | None = None,
        tier: str | None = None,
    ) -> Vectors:
        self.fail(items)
        self.batches.append(list(items))
        vectors = np.full((len(items), self.dim), 1e-3, np.float32)
        for row, item in zip(vectors, items, strict=True):
            if isinstance(item, Path):
                try:
                    Image.open(item).load()
                except OSError as error:
                    raise ImageError(f"cannot decode {item}") from error
            for word in str(item).split():
                row[hashlib.md5(word.encode()).digest()[0] % self.dim] += 1
        return normalize(vectors)

    def route(self, items: Sequence[Item]) -> list[tuple[str, str]]:
        return [("", "")] * len(items)

    def map(self, base: Vectors, task: str) -> Vectors:
        return normalize(base @ self.matrix(task).T)

    def matrix(self, task: str) -> Vectors:
        return self.matrices.get(task, np.eye(self.dim, dtype=np.float32))


def meta_of(
    dim: int, base_id: str = "fake", storage: Storage | None = None, provenance: Provenance | None = None
) -> Meta:
    return Meta(
        FORMAT, base_id, dim, storage or Storage(dim), "0", provenance=provenance or Provenance("starter 0.1")
    )


def open_folder(folder: Path, dim: int = 16, **changes: Any) -> FolderStore:
    """The index in `folder`, made where there is none."""
    return FolderStore.open(folder) or FolderStore.create(folder, meta_of(dim, **changes))


@pytest.fixture(scope="session")
def open_store() -> Callable[..., FolderStore]:
    return open_folder


@pytest.fixture(scope="session")
def make_meta() -> Callable[..., Meta]:
    return meta_of


@pytest.fixture(scope="session")
def tiny_model() -> type[TinyModel]:
    return TinyModel


@pytest.fixture
def model() -> TinyModel:
    return TinyModel()


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory, open_store: Callable[..., FolderStore]
) -> Iterator[FolderStore]:
    with open_store(tmp_path_factory.mktemp("store") / "index") as opened:
        yield opened


@pytest.fixture
def store(shared: FolderStore) -> Iterator[FolderStore]:
    """An empty store; emptied rather than made for each test, which takes ten syncs of the disk."""
    yield shared
    shared.delete(shared.files())
