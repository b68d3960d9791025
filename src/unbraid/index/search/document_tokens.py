"""What a multi-vector head reads of passages of an index, from the cache or encoded now."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unbraid.errors import DataError
from unbraid.index.search.token_cache import KEY, MOST_BYTES, TokenCache, content_key
from unbraid.index.store.entry import Entry
from unbraid.items import Code, Item
from unbraid.multi_vector.codes import pack, unpack
from unbraid.multi_vector.token_vectors import pool
from unbraid.runtime.onnx_session import pick_graph

Tokens = NDArray[np.float32]


@dataclass(frozen=True)
class Head:
    """The multi-vector head of a tier. Vectors of two tiers or of two `space`s must not be compared."""

    tier: str
    space: str  # the head's id
    key: bytes  # of the encoder, the head and what is stored of them, as the cache has it
    dim: int
    look: float  # log odds of 1 in its scores
    whole: float  # of 1 in the cosine of its encoder's base vectors

    def most(self, base_dim: int) -> int:
        """Vectors of a passage that are stored, beside a base vector of `base_dim` where it counts."""
        return (MOST_BYTES - (base_dim // 2 if self.whole else 0)) // (self.dim // 2)


@dataclass(frozen=True)
class Reading:
    """What a head's tier makes of a passage: unit token vectors float32 [tokens, dim] and, where it counts, the base vector [D].

    Base vectors are of unit length.
    """

    tokens: Tokens
    base: NDArray[np.float32] | None = None

    def packed(self) -> bytes:
        """In four bits a number, the base vector first."""
        return (b"" if self.base is None else pack(self.base[None])) + pack(self.tokens)

    @classmethod
    def of(cls, packed: bytes, head: Head, base_dim: int) -> "Reading":
        """The reverse. Raises DataError for other bytes."""
        if not head.whole:
            return cls(unpack(packed, head.dim))
        base = unpack(packed[: base_dim // 2], base_dim)
        if not len(base):
            raise DataError(f"{len(packed)} bytes: no base vector of {base_dim} numbers in four bits")
        return cls(unpack(packed[base_dim // 2 :], head.dim), base[0])


@dataclass(frozen=True)
class Passage:
    """A text or code with the head that is to read it, and the tier that has encoded it."""

    item: Item
    head: Head
    key: bytes
    tier: str

    @classmethod
    def of(cls, model: Any, entry: Entry | None, reader: str | None = None) -> "Passage | None":
        """The passage of a chunk; None for a damaged chunk, for a picture and the words in it, and for a tier without a head.

        `reader` is the tier whose head reads it; None is the tier that encoded it.
        """
        # The words of a chart are labels in no order, and a second look at them finds charts worse (docs/experiments.md).
        if entry is None or entry.of_picture:
            return None
        head = head_of(model, reader or entry.tier, entry.modality)
        if head is None:
            return None
        item = Code(entry.text) if entry.modality == "code" else entry.text
        return cls(item, head, content_key(entry.text, entry.modality) + head.key, entry.tier)


def head_of(model: Any, tier: str, modality: str) -> Head | None:
    """The head that reads texts of a modality in a tier; None where the model's bundle has none."""
    bundle = getattr(model, "bundle", None)
    spec = bundle.tiers.get(tier, {}).get(modality) if bundle else None
    if spec is None or spec.multi_vector is None:
        return None
    head, graph = spec.multi_vector, pick_graph(spec.graphs, model.precision)
    precision = next((one for one, file in spec.graphs.items() if file == graph and one in head.graphs), None)
    if precision is None:
        return None
    made_by = [spec.id, head.id, precision, *(["base"] if head.whole else [])]
    key = hashlib.blake2b("\0".join(made_by).encode(), digest_size=KEY).digest()
    return Head(tier, head.id, key, head.dim, head.look, head.whole)


def stored_by(model: Any) -> str | None:
    """The tier whose token vectors an index stores, for passages of every tier; None is that of each passage."""
    bundle = getattr(model, "bundle", None)
    tier = bundle.look_tier if bundle else ""
    return tier if tier and any(head_of(model, tier, one) for one in ("text", "code")) else None


def read_passages(
    model: Any, passages: Sequence[Passage], cache: TokenCache, seconds: float | None = None
) -> list[Reading | None]:
    """What the head of each passage reads; None of one that is not cached and for which no time was left.

    Passages are encoded in their order, a few at a time, for at most about `seconds`; None is as long as it takes. What was
    encoded is cached. Vectors are those of the cache, in four bits, also the first time.
    """
    start = perf_counter()
    packed = cache.read([one.key for one in passages])
    missing = list({one.key: one for one in passages if one.key not in packed}.values())
    new: dict[bytes, bytes] = {}
    size = len(missing) if seconds is None else max(1, model.threads)
    last = 0.0
    for place in range(0, len(missing), max(1, size)):
        begun = perf_counter()
        if seconds is not None and begun - start + last >= seconds:
            break
        new |= encode_passages(model, missing[place : place + size])
        last = perf_counter() - begun
    cache.write(new)
    packed |= new
    return [_unpacked(packed.get(one.key), one.head, model.dim) for one in passages]


def encode_passages(model: Any, passages: Sequence[Passage]) -> dict[bytes, bytes]:
    """What the head of each passage reads, packed, by its key."""
    by_tier: dict[str, list[Passage]] = {}
    for one in passages:
        by_tier.setdefault(one.head.tier, []).append(one)
    found: dict[bytes, bytes] = {}
    for tier, some in by_tier.items():
        items = [one.item for one in some]
        read = model.token_vectors(items, tier=tier, on_truncate="ignore", progress=False)
        for one, each in zip(some, read, strict=True):
            tokens = pool(each.vectors, one.head.most(model.dim))
            found[one.key] = Reading(tokens, each.base if one.head.whole else None).packed()
    return found


def _unpacked(packed: bytes | None, head: Head, base_dim: int) -> Reading | None:
    if packed is None:
        return None
    try:
        return Reading.of(packed, head, base_dim)
    except DataError:  # a row of another program under our key
        return None
