"""Chroma: `UnbraidEmbeddingFunction` for documents, queries and pictures. Chroma finds it by the name "unbraid"."""

from typing import Any

import numpy as np
from PIL import Image

from unbraid.errors import ItemError, MissingExtraError
from unbraid.integrations.side_encoder import SideEncoder

try:
    from chromadb.api.types import Embeddable, EmbeddingFunction, Embeddings, Space
    from chromadb.utils.embedding_functions import register_embedding_function
except ModuleNotFoundError as error:
    raise MissingExtraError("chromadb", "chroma") from error


@register_embedding_function
class UnbraidEmbeddingFunction(EmbeddingFunction[Embeddable]):
    """Vectors of texts, and of pictures as Chroma holds them: arrays [height, width] or [height, width, 3 or 4] of 0..255.

    A collection stores the options and the id of the vectors' space, and refuses a model that gives other vectors.
    """

    def __init__(
        self,
        model: str = "starter",
        *,
        mode: str = "retrieval",
        dim: int | None = None,
        tier: str | None = None,
        space: str | None = None,
    ) -> None:
        """The options are those of `SideEncoder`; `space` comes from the collection."""
        self.encoder = SideEncoder(model, mode, dim, tier, space)

    def __call__(self, input: Embeddable) -> Embeddings:
        """Vectors of documents."""
        return list(self.encoder.documents(map(_item, input)))

    def embed_query(self, input: Embeddable) -> Embeddings:
        """Vectors of queries."""
        return list(self.encoder.queries(map(_item, input)))

    @staticmethod
    def name() -> str:
        """The name in a collection's configuration."""
        return "unbraid"

    def default_space(self) -> Space:
        """Cosine: vectors have unit length."""
        return "cosine"

    def get_config(self) -> dict[str, Any]:
        """Options and space, for the collection."""
        return self.encoder.config()

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> "UnbraidEmbeddingFunction":
        """The function of a collection's configuration. Encoding raises BundleError when the model now gives other vectors."""
        return UnbraidEmbeddingFunction(**config)

    def validate_config_update(self, old_config: dict[str, Any], new_config: dict[str, Any]) -> None:
        """Raise ItemError when the new function gives vectors that the collection's must not be compared with."""
        for key in ("space", "dim"):
            if old_config[key] != new_config[key]:
                raise ItemError(
                    f"the collection was made with {key} {old_config[key]}, got {new_config[key]}: make another collection"
                )


def _item(given: Any) -> Any:
    if not isinstance(given, np.ndarray):
        return given
    if given.size == 0 or not (given.min() >= 0 and given.max() <= 255):  # so written, NaN is refused
        raise ItemError(f"a picture of shape {list(given.shape)}: expected numbers of 0..255")
    try:
        return Image.fromarray(given.astype(np.uint8))
    except (TypeError, ValueError) as error:
        raise ItemError(f"a picture has shape {list(given.shape)}: expected [height, width, 3]") from error
