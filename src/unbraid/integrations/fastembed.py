"""FastEmbed, and so Qdrant's client: `add_model` adds a bundle to its models for text and for pictures."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from unbraid.errors import ItemError, MissingExtraError
from unbraid.integrations.side_encoder import SideEncoder

try:
    from fastembed import ImageEmbedding, TextEmbedding
    from fastembed.common.model_description import DenseModelDescription, ModelSource
    from fastembed.image.image_embedding_base import ImageEmbeddingBase
    from fastembed.text.text_embedding_base import TextEmbeddingBase
except ModuleNotFoundError as error:
    raise MissingExtraError("fastembed", "fastembed") from error

_added: dict[str, SideEncoder] = {}


def add_model(
    name: str = "unbraid",
    model: str = "starter",
    *,
    mode: str = "retrieval",
    dim: int | None = None,
    tier: str | None = None,
) -> None:
    """Let FastEmbed's `TextEmbedding` and `ImageEmbedding`, and Qdrant's client, know a bundle by `name`.

    Queries and documents are encoded each for its task. The options are those of `SideEncoder`. Adding the same again does
    nothing. Raises ItemError for a name that stands for something else.
    """
    encoder = SideEncoder(model, mode, dim, tier)
    taken = {
        one["model"].lower()
        for one in (*TextEmbedding.list_supported_models(), *ImageEmbedding.list_supported_models())
    }
    if name.lower() in taken and _added.get(name) != encoder:
        raise ItemError(f"{name!r} is a model of FastEmbed already: choose another name")
    encoder.config()  # loads it, so that a fault shows here
    _added[name] = encoder
    for registry, kind in (
        (TextEmbedding.EMBEDDINGS_REGISTRY, UnbraidTextEmbedding),
        (ImageEmbedding.EMBEDDINGS_REGISTRY, UnbraidImageEmbedding),
    ):
        if kind not in registry:
            registry.append(kind)


class _Added:
    """What the two kinds of models share."""

    def __init__(
        self,
        model_name: str,
        cache_dir: str | None = None,
        threads: int | None = None,
        providers: Any = None,
        cuda: bool | str = "auto",
        device_ids: list[int] | None = None,
        lazy_load: bool = False,
        local_files_only: bool = False,
    ) -> None:
        """FastEmbed and Qdrant's client pass all of these. Raises ItemError for those that would change something."""
        unheard = {"threads": threads, "providers": providers, "device_ids": device_ids}
        if cuda not in (False, "auto", "cpu"):
            unheard["cuda"] = cuda
        if given := [name for name, value in unheard.items() if value is not None]:
            raise ItemError(
                f"{model_name} runs on the CPU, on all cores that the process may use: leave out {', '.join(given)}"
            )
        super().__init__(model_name, cache_dir)  # type: ignore[call-arg]
        self.encoder = next(one for name, one in _added.items() if name.lower() == model_name.lower())

    @classmethod
    def _list_supported_models(cls) -> list[DenseModelDescription]:
        return [
            DenseModelDescription(
                model=name,
                dim=encoder.dims,
                description=f"unbraid: {encoder.model}, mode {encoder.mode}",
                license="see the model card of the bundle",
                size_in_GB=0.0,
                sources=ModelSource(hf=encoder.model),
                model_file="",
            )
            for name, encoder in _added.items()
        ]

    @property
    def embedding_size(self) -> int:
        """Length of a vector."""
        return self.encoder.dims


class UnbraidTextEmbedding(_Added, TextEmbeddingBase):
    """An added model for texts."""

    def embed(
        self, documents: str | Iterable[str], batch_size: int = 256, parallel: int | None = None
    ) -> Iterator[np.ndarray]:
        """Vectors of documents, `batch_size` at a time."""
        _check_parallel(parallel)
        for batch in _batches([documents] if isinstance(documents, str) else documents, batch_size):
            yield from self.encoder.documents(batch)

    def query_embed(
        self, query: str | Iterable[str], batch_size: int = 256, parallel: int | None = None
    ) -> Iterator[np.ndarray]:
        """Vectors of queries."""
        _check_parallel(parallel)
        for batch in _batches([query] if isinstance(query, str) else query, batch_size):
            yield from self.encoder.queries(batch)

    def passage_embed(self, texts: Iterable[str], **options: Any) -> Iterator[np.ndarray]:
        """Vectors of documents; `options` as in `embed`."""
        return self.embed(texts, **options)


class UnbraidImageEmbedding(_Added, ImageEmbeddingBase):
    """An added model for pictures."""

    def embed(self, images: Any, batch_size: int = 16, parallel: int | None = None) -> Iterator[np.ndarray]:
        """Vectors of pictures, paths or PIL images, as documents."""
        _check_parallel(parallel)
        one = isinstance(images, str | Path) or not isinstance(images, Iterable)
        for batch in _batches([images] if one else images, batch_size):
            yield from self.encoder.documents(Path(item) if isinstance(item, str) else item for item in batch)


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch


def _check_parallel(parallel: int | None) -> None:
    if parallel not in (None, 1):
        raise ItemError(
            f"parallel is {parallel}: leave it out, all cores that the process may use are used already"
        )
