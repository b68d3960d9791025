"""What can be done to finished vectors: cut to a prefix, store in fewer bits, search what is stored."""

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import numpy as np

from unbraid.errors import ItemError

VectorPrecision: TypeAlias = Literal["float32", "float16", "int8", "binary"]
VECTOR_PRECISIONS: tuple[VectorPrecision, ...] = get_args(VectorPrecision)


def normalise(vectors: np.ndarray) -> np.ndarray:
    """Rows of `vectors` [n, d] at unit length, float32; a row of zeros stays zero."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: np.ndarray = (vectors / np.where(norms == 0, 1, norms)).astype(np.float32)
    return unit


def fold(weight: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Wᵀq [d], or a row for each of [n, d], for a mapper's matrix W [d, d] and a query's task vector q.

    (Wᵀq)·b = q·(W b), so its inner products with stored base vectors b rank them as their mapped vectors would be
    ranked but for their lengths: divided by |W b| they are the cosines.
    """
    folded: np.ndarray = query @ weight
    return folded


def truncate(vectors: np.ndarray, dim: int, dims: Sequence[int]) -> np.ndarray:
    """The first `dim` dimensions of unit vectors, at unit length again (Matryoshka).

    Raises ItemError when `dim` is not among the supported `dims`.
    """
    if dim not in dims:
        raise ItemError(f"dim {dim} is not supported: expected one of {', '.join(map(str, dims))}")
    return vectors if dim == vectors.shape[1] else normalise(vectors[:, :dim])


def store_as(vectors: np.ndarray, precision: VectorPrecision) -> np.ndarray:
    """Unit vectors [n, d] as float32, float16 or int8 [n, d], or binary uint8 [n, d/8].

    int8 scales every vector by its own largest value to ±127: cosine does not see a vector's scale, so no
    calibration set is needed. binary keeps the signs, most significant bit first; compare by Hamming distance.
    Raises ItemError for another precision.
    """
    if precision == "float32":
        return vectors
    if precision == "float16":
        return vectors.astype(np.float16)
    if precision == "int8":
        largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0)
        scaled: np.ndarray = np.rint(vectors * (127 / np.where(largest == 0, 1, largest))).astype(np.int8)
        return scaled
    if precision == "binary":
        return np.packbits(vectors > 0, axis=1)
    raise ItemError(
        f"precision {precision!r} is not supported: expected one of {', '.join(VECTOR_PRECISIONS)}"
    )


def candidates(query: np.ndarray, codes: np.ndarray, count: int = 100) -> np.ndarray:
    """Rows int64 [count] of the stored vectors whose signs agree best with a query's, in no order; all of fewer.

    `query` is float [d], `codes` are the stored vectors in binary, uint8 [n, d/8]. Reads 64 bytes of a 512-d vector;
    what is returned is to be scored again with better numbers. To search under a task, fold the query (see `fold`).
    Raises ItemError for shapes that do not fit.
    """
    if query.ndim != 1 or codes.ndim != 2 or len(query) != 8 * codes.shape[1] or count < 1:
        raise ItemError(
            f"{count} candidates of codes {list(codes.shape)} for a query {list(query.shape)}: expected 1 or more, "
            "[n, d/8] and [d]"
        )
    differ = np.bitwise_count(codes ^ store_as(query[None], "binary")).sum(axis=1, dtype=np.int32)
    if count >= len(differ):
        return np.arange(len(differ))
    rows: np.ndarray = np.argpartition(differ, count)[:count]
    return rows
