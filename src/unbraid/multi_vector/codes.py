"""Unit vectors in four bits a number, as they are stored: 32 bytes for 64 dimensions. Their length is not stored."""

import numpy as np
from numpy.typing import NDArray

from unbraid.errors import DataError
from unbraid.vectors import normalize

LEVELS = 7  # a number is -7 to 7 steps; the largest of a vector is 7


def pack(vectors: NDArray[np.float32]) -> bytes:
    """Vectors [n, dim] of an even `dim`: two numbers a byte, in steps of a seventh of the largest number of each."""
    steps = np.abs(vectors).max(axis=1, initial=0) / LEVELS
    rounded = np.rint(vectors / np.where(steps == 0, 1, steps)[:, None]).astype(np.int8) + 8
    halves = rounded.astype(np.uint8)
    return (halves[:, ::2] | halves[:, 1::2] << 4).tobytes()


def unpack(packed: bytes, dim: int) -> NDArray[np.float32]:
    """The vectors of `pack` [n, dim], at unit length. Raises DataError for bytes that are not of that `dim`."""
    count, rest = divmod(len(packed), dim // 2)
    if rest:
        raise DataError(f"{len(packed)} bytes: not vectors of {dim} numbers in four bits")
    halves = np.frombuffer(packed, np.uint8).reshape(count, dim // 2)
    vectors = np.empty((count, dim), np.float32)
    vectors[:, ::2], vectors[:, 1::2] = (
        (halves & 15).astype(np.float32) - 8,
        (halves >> 4).astype(np.float32) - 8,
    )
    return normalize(vectors)
