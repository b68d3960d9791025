"""LangChain: `UnbraidEmbeddings` for vector stores, `UnbraidRetriever` over an index."""

from pathlib import Path
from typing import Any

from unbraid.errors import MissingExtraError
from unbraid.integrations.hits import check_options, hit_metadata, search
from unbraid.integrations.side_encoder import SideEncoder

try:
    from langchain_core.callbacks import CallbackManagerForRetrieverRun
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings
    from langchain_core.retrievers import BaseRetriever
    from pydantic import ConfigDict, Field, field_validator
except ModuleNotFoundError as error:
    raise MissingExtraError("langchain-core", "langchain") from error


class UnbraidEmbeddings(Embeddings):
    """Vectors of texts and pictures; LangChain's asynchronous methods run these in a thread."""

    def __init__(
        self,
        model: str = "starter",
        *,
        mode: str = "retrieval",
        dim: int | None = None,
        tier: str | None = None,
    ) -> None:
        """The options are those of `SideEncoder`."""
        self.encoder = SideEncoder(model, mode, dim, tier)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Vectors of documents. In mode "code" they are code."""
        return self.encoder.documents(texts).tolist()

    def embed_query(self, text: str) -> list[float]:
        """The vector of a query."""
        return self.encoder.queries([text])[0].tolist()

    def embed_image(self, uris: list[str]) -> list[list[float]]:
        """Vectors of picture files, as documents."""
        return self.encoder.documents(map(Path, uris)).tolist()


class UnbraidRetriever(BaseRetriever):
    """Searches an index that is open, and stays open. A document is a hit; its metadata has place, path, lines and score."""

    # A misspelt option is an error.
    model_config = ConfigDict(extra="forbid")

    index: Any = Field(exclude=True)
    """What `unbraid.open_index` returns."""
    options: dict[str, Any] = Field(default_factory=dict)
    """What `Index.search` takes beside the query: k, mode, path, min_score and others."""

    @field_validator("options")
    @classmethod
    def _known(cls, options: dict[str, Any]) -> dict[str, Any]:
        check_options(options)
        return options

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        return [
            Document(hit.snippet, metadata=hit_metadata(hit))
            for hit in search(self.index, query, self.options)
        ]
