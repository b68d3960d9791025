"""The `Engine` protocol: what the server needs of an encoder. Batches may mix tasks and modalities."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Literal, Protocol

import numpy as np

from unbraid.items import Modality
from unbraid.runtime.routing import Side
from unbraid.serve.engine.openai_tokens import OpenAITokens

TEXTS: tuple[Literal["text", "code"], ...] = ("text", "code")  # modalities that have tokens
BASE = "base"  # the task name under which a bundle gives base vectors


@dataclass(frozen=True, slots=True)
class RequestItem:
    """An item of a request: a text or code, token ids, or the bytes of a picture file."""

    kind: Modality
    content: str | list[int] | bytes
    size: tuple[int, int] = (0, 0)  # width and height of a picture


@dataclass(frozen=True, slots=True)
class TextEncoder:
    """What a request says of the encoder of its texts, as `Embedder.route` takes it."""

    tier: str | None = None
    language: str | None = None
    side: Side | None = None


DEFAULT = TextEncoder()


@dataclass(frozen=True, slots=True)
class QueueItem:
    """An item ready for a batch."""

    kind: Modality
    content: str | list[int] | bytes
    task: str
    tokens: int  # as `usage` counts them
    cost: int  # as the queue and the budget of a batch count it
    tier: str = ""  # of a text or code


class Engine(Protocol):
    """An encoder behind the server. Several threads call `read` and `encode` at a time."""

    name: str
    tasks: tuple[str, ...]
    default_task: str  # of requests that name none
    modalities: tuple[str, ...]
    tiers: tuple[str, ...]  # that a request may name; none where there is one text encoder
    dims: tuple[int, ...]  # the longest first
    dim: int
    multi_vector: bool  # whether it gives a vector for every token, of some items at least
    workers: int  # batches that run at a time
    batch_tokens: int  # budget of a batch
    about: Mapping[str, object]  # further facts for /v1/models
    openai_tokens: OpenAITokens

    def read(
        self,
        items: Sequence[RequestItem],
        task: str,
        max_characters: int,
        encoder: TextEncoder = DEFAULT,
        *,
        multi: bool = False,
    ) -> tuple[list[QueueItem], list[int]]:
        """The items ready for a batch, of multi-vectors with `multi`, and the positions of texts that were cut.

        `max_characters` bounds a text read from token ids. Raises ItemError, of which NoMultiVector is one, and
        VocabularyLoading.
        """
        ...

    def encode(self, items: Sequence[QueueItem], multi: bool) -> Sequence[np.ndarray] | np.ndarray:
        """float32 [n, dim], each item under its own task; with `multi`, n arrays float32 [tokens, D]."""
        ...


def warm(engine: Engine) -> None:
    """Encode an English text under every task, and a picture: these graphs are open before the first request."""
    texts = [RequestItem(kind, "the first text of all") for kind in TEXTS if kind in engine.modalities]
    for task in engine.tasks:
        engine.encode(engine.read(texts, task, 100)[0], False)
    if "image" in engine.modalities:
        from PIL import Image

        white = BytesIO()
        Image.new("RGB", (64, 64), "white").save(white, "PNG")
        picture = RequestItem("image", white.getvalue(), (64, 64))
        engine.encode(engine.read([picture], engine.default_task, 100)[0], False)
