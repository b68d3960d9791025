"""LanceDB: `UnbraidEmbeddings`, in its registry as "unbraid"."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from unbraid.errors import MissingExtraError
from unbraid.integrations.side_encoder import SideEncoder

try:
    import pyarrow as pa
    from lancedb.embeddings import EmbeddingFunction, register
    from pydantic import ConfigDict
except ModuleNotFoundError as error:
    raise MissingExtraError("lancedb", "lancedb") from error


@register("unbraid")
class UnbraidEmbeddings(EmbeddingFunction):
    """Vectors of a column of texts, or of pictures as the bytes of their files; a null has none.

    The options are those of `SideEncoder`. A table stores them with the id of the vectors' space, and refuses a model that
    gives other vectors.
    """

    # A misspelt option is an error.
    model_config = ConfigDict(extra="forbid")

    model: str = "starter"
    mode: str = "retrieval"
    dim: int | None = None
    tier: str | None = None
    # Comes from a stored table.
    space: str | None = None

    def ndims(self) -> int:
        """Length of a vector."""
        return self._encoder.dims

    def compute_query_embeddings(self, query: Any) -> list[np.ndarray]:
        """The vector of a query: a text, unbraid.Code, a path or PIL image of a picture, or a Mix."""
        return list(self._encoder.queries([query]))

    def compute_source_embeddings(self, texts: Any) -> list[np.ndarray | None]:
        """Vectors of a column, a list or one item of documents; None for a null."""
        items: Sequence[Any]
        if isinstance(texts, pa.Array | pa.ChunkedArray):
            items = texts.to_pylist()
        else:
            items = [texts] if isinstance(texts, str | bytes) else texts
        vectors = iter(self._encoder.documents(item for item in items if item is not None))
        return [None if item is None else next(vectors) for item in items]

    def compute_query_embeddings_with_retry(self, query: Any) -> list[np.ndarray]:
        """Without retries: nothing is sent, so the second try would fail as the first."""
        return self.compute_query_embeddings(query)

    def compute_source_embeddings_with_retry(self, texts: Any) -> list[np.ndarray | None]:
        """Without retries."""
        return self.compute_source_embeddings(texts)

    def safe_model_dump(self) -> dict[str, Any]:
        """Options and space, for the table."""
        return self._encoder.config()

    @property
    def _encoder(self) -> SideEncoder:
        return SideEncoder(self.model, self.mode, self.dim, self.tier, self.space)
