"""Haystack: `UnbraidTextEmbedder` for queries, `UnbraidDocumentEmbedder` for documents and pictures."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from unbraid.errors import ItemError, MissingExtraError
from unbraid.integrations.side_encoder import SideEncoder

try:
    from haystack import Document, component, default_from_dict, default_to_dict
    from haystack.core.serialization import allow_deserialization_module
except ModuleNotFoundError as error:
    raise MissingExtraError("haystack-ai", "haystack") from error

# A stored pipeline loads once this module has been imported.
allow_deserialization_module(__name__)


class _Embedder:
    """What both components share: options, and how a pipeline stores them."""

    def __init__(
        self,
        model: str = "starter",
        *,
        mode: str = "retrieval",
        dim: int | None = None,
        tier: str | None = None,
    ) -> None:
        """Nothing is loaded yet."""
        self.options = {"model": model, "mode": mode, "dim": dim, "tier": tier}
        self.encoder = SideEncoder(model, mode, dim, tier)

    def to_dict(self) -> dict[str, Any]:
        """The class and its options."""
        return default_to_dict(self, **self.options)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The component of a `to_dict`."""
        return default_from_dict(cls, data)


@component
class UnbraidTextEmbedder(_Embedder):
    """The vector of a query. The options are those of `SideEncoder`."""

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, Any]:
        """{"embedding": the vector of `text` as a query}."""
        return {"embedding": self.encoder.queries([text])[0].tolist()}

    @component.output_types(embedding=list[float])
    async def run_async(self, text: str) -> dict[str, Any]:
        """As `run`, in a thread."""
        return await asyncio.to_thread(self.run, text)


@component
class UnbraidDocumentEmbedder(_Embedder):
    """Documents with their vectors. The options are those of `SideEncoder`.

    A document without content is a picture: its `blob`, or else the file that `meta["file_path"]` names.
    """

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, Any]:
        """{"documents": copies of `documents` that have an embedding}. Raises ItemError for an empty document."""
        vectors = self.encoder.documents(map(_item, documents)).tolist()
        return {"documents": [replace(one, embedding=v) for one, v in zip(documents, vectors, strict=True)]}

    @component.output_types(documents=list[Document])
    async def run_async(self, documents: list[Document]) -> dict[str, Any]:
        """As `run`, in a thread."""
        return await asyncio.to_thread(self.run, documents)


def _item(document: Document) -> str | bytes | Path:
    if document.content is not None:
        return document.content
    if document.blob is not None:
        return document.blob.data
    if path := document.meta.get("file_path"):
        return Path(path)
    raise ItemError(
        f'document {document.id} has no content, no blob and no meta["file_path"]: nothing to encode'
    )
