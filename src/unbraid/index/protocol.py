"""What the index asks of an embedder; `unbraid.load()` returns one."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from unbraid.items import Item
from unbraid.runtime.routing import Side

Vectors = NDArray[np.float32]
Scores = NDArray[np.floating[Any]]


class Model(Protocol):
    """Encodes items to base vectors and maps base vectors to task vectors, all unit length."""

    @property
    def dim(self) -> int:
        """Length of a base vector."""
        ...

    @property
    def base_id(self) -> str:
        """Id (hash) of the base space: vectors of two ids never share an index."""
        ...

    @property
    def modalities(self) -> Collection[str]:
        """What can be encoded."""
        ...

    @property
    def search_modes(self) -> Mapping[str, tuple[str, str]]:
        """Search mode -> (task of the query, task of the documents)."""
        ...

    @property
    def multilingual_tier(self) -> str | None:
        """The tier of many languages, whose texts its own queries find best; None where there is no choice of tiers."""
        ...

    @property
    def max_tokens(self) -> int:
        """Tokens that are read of a text, special tokens left out."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> Sequence[int]:
        """Tokens of each text, whole and without special tokens."""
        ...

    def encode(
        self,
        items: Sequence[Item],
        *,
        on_truncate: Literal["warn", "error", "ignore"] = "warn",
        progress: bool | None = None,
        side: Side | None = None,
        tier: str | None = None,
    ) -> Vectors:
        """Base vectors [n, dim]. Raises ImageError for a picture that cannot be decoded.

        `side` "query" is that of a search's queries; the two sides may have different encoders of one space. `tier`
        encodes every text in place of the tier for its language.
        """
        ...

    def route(self, items: Sequence[Item]) -> Sequence[tuple[str, str]]:
        """The tier that `encode` sends each item to and the language of its text; "" where there is none."""
        ...

    def map(self, base: Vectors, task: str) -> Vectors:
        """Task vectors [n, dim] of base vectors [n, dim]."""
        ...

    def matrix(self, task: str) -> Vectors:
        """W [dim, dim] with map(b) = normalize(W @ b), or the linear part of a mapper that is not linear."""
        ...
