"""LlamaIndex: `UnbraidEmbedding` for texts and pictures, `UnbraidRetriever` over an index."""

import asyncio
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any

from unbraid.errors import MissingExtraError
from unbraid.integrations.hits import check_options, hit_metadata, search
from unbraid.integrations.side_encoder import SideEncoder
from unbraid.mix import Mix, Query

try:
    from llama_index.core.base.base_retriever import BaseRetriever
    from llama_index.core.base.embeddings.base import Embedding
    from llama_index.core.embeddings import MultiModalEmbedding
    from llama_index.core.schema import ImageNode, ImageType, NodeWithScore, QueryBundle, TextNode
    from pydantic import ConfigDict, Field
except ModuleNotFoundError as error:
    raise MissingExtraError("llama-index-core", "llama-index") from error


class UnbraidEmbedding(MultiModalEmbedding):
    """Vectors of texts and pictures. The options are those of `SideEncoder`; `model_name` is its `model`."""

    # A misspelt option is an error.
    model_config = ConfigDict(extra="forbid")

    model_name: str = "starter"
    # LlamaIndex's own 10 makes tier base a fifth slower, nano three times.
    embed_batch_size: int = Field(default=100, gt=0, le=2048)
    mode: str = "retrieval"
    dim: int | None = None
    tier: str | None = None

    @classmethod
    def class_name(cls) -> str:
        """The name in stored configurations."""
        return "UnbraidEmbedding"

    @property
    def _encoder(self) -> SideEncoder:
        return SideEncoder(self.model_name, self.mode, self.dim, self.tier)

    def _get_query_embedding(self, query: str) -> Embedding:
        return self._encoder.queries([query])[0].tolist()

    def _get_text_embedding(self, text: str) -> Embedding:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return self._encoder.documents(texts).tolist()

    def _get_image_embedding(self, img_file_path: ImageType) -> Embedding:
        return self._get_image_embeddings([img_file_path])[0]

    def _get_image_embeddings(self, img_file_paths: list[ImageType]) -> list[Embedding]:
        pictures = [one.getvalue() if isinstance(one, BytesIO) else Path(one) for one in img_file_paths]
        return self._encoder.documents(pictures).tolist()

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return await asyncio.to_thread(self._get_query_embedding, query)

    async def _aget_text_embedding(self, text: str) -> Embedding:
        return await asyncio.to_thread(self._get_text_embedding, text)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)

    async def _aget_image_embedding(self, img_file_path: ImageType) -> Embedding:
        return await asyncio.to_thread(self._get_image_embedding, img_file_path)

    async def _aget_image_embeddings(self, img_file_paths: list[ImageType]) -> list[Embedding]:
        return await asyncio.to_thread(self._get_image_embeddings, img_file_paths)


class UnbraidRetriever(BaseRetriever):
    """Searches an index that is open, and stays open, by text, by a picture, or by both. A node is a hit."""

    def __init__(self, index: Any, options: Mapping[str, Any] = MappingProxyType({})) -> None:
        """`index` is what `unbraid.open_index` returns, `options` what its `search` takes beside the query.

        Raises ItemError for an option that it does not take.
        """
        super().__init__()
        check_options(options)
        self.index = index
        self.options = options

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [
            NodeWithScore(node=_node(hit), score=hit.score)
            for hit in search(self.index, _query(query_bundle), self.options)
        ]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)


def _query(bundle: QueryBundle) -> Query:
    if bundle.image_path is None:
        return str(bundle.query_str)
    picture = Path(bundle.image_path)
    return Mix([picture, bundle.query_str]) if bundle.query_str else picture


def _node(hit: Any) -> TextNode:
    about = hit_metadata(hit)
    # A language model is shown where the text is from, not the rest.
    hidden = [name for name in about if name not in ("place", "within")]
    if hit.modality == "image":
        return ImageNode(
            text=hit.snippet, image_path=hit.path, metadata=about, excluded_llm_metadata_keys=hidden
        )
    return TextNode(text=hit.snippet, metadata=about, excluded_llm_metadata_keys=hidden)
