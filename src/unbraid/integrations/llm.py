"""A plugin of `llm`: models for `llm embed`, `llm embed-multi` and `llm similar`. Its entry point is in pyproject.toml."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from unbraid.errors import MissingExtraError
from unbraid.integrations.side_encoder import SideEncoder
from unbraid.runtime.routing import Side

try:
    import llm
except ModuleNotFoundError as error:
    raise MissingExtraError("llm", "llm") from error


@dataclass
class UnbraidModel(llm.EmbeddingModel):
    """Vectors of one side of a search mode, of texts and of pictures as the bytes of their files."""

    model_id: str
    encoder: SideEncoder
    side: Side
    supports_binary = True
    batch_size = 100

    def embed_batch(self, items: Iterable[str | bytes], *, key: str | None = None) -> Iterator[list[float]]:
        """Vectors of `items`, in order. `key` is of models behind an API."""
        encode = self.encoder.queries if self.side == "query" else self.encoder.documents
        yield from encode(items).tolist()


# `llm similar` asks the model that stored a collection, so that one has to serve both sides. It costs .002 nDCG@10
# (docs/experiments.md).
@llm.hookimpl
def register_embedding_models(register: Callable[..., None]) -> None:
    """Tell `llm` the models; nothing is loaded."""
    register(UnbraidModel("unbraid", SideEncoder(), "document"), aliases=("unbraid-document",))
    register(UnbraidModel("unbraid-query", SideEncoder(), "query"))
    register(UnbraidModel("unbraid-code", SideEncoder(mode="code"), "document"))
    register(UnbraidModel("unbraid-code-query", SideEncoder(mode="code"), "query"))
