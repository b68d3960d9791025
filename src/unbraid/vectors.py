"""Operations on finished vectors: normalize, fold, truncate, store in fewer bits, find candidates by signs."""

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import numpy as np

from unbraid.errors import ItemError

# How vectors are stored. `precision` is a word for graphs alone (unbraid.bundle).
Numbers: TypeAlias = Literal["float32", "float16", "int8", "binary"]
NUMBERS: tuple[Numbers, ...] = get_args(Numbers)


def normalize(vectors: np.ndarray) -> np.ndarray:
    """Rows of `vectors` [n, d] at unit length, float32. A row of zeros stays zero."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: np.ndarray = (vectors / np.where(norms == 0, 1, norms)).astype(np.float32)
    return unit


def fold(weight: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Wᵀq [d], or one row for each of [n, d], of a mapper's matrix W [d, d] and a query's task vector q.

    (Wᵀq)·b = q·(W b): the folded query scores stored base vectors b as q scores their mapped vectors. Divided by
    |W b|, the scores are cosines.
    """
    folded: np.ndarray = query @ weight
    return folded


def truncate(vectors: np.ndarray, dim: int, dims: Sequence[int]) -> np.ndarray:
    """The first `dim` dimensions of unit vectors, at unit length again (Matryoshka).

    Raises ItemError when `dim` is not among the supported `dims`.
    """
    if dim not in dims:
        raise ItemError(f"dim {dim} is not supported: expected one of {', '.join(map(str, dims))}")
    return vectors if dim == vectors.shape[1] else normalize(vectors[:, :dim])


def store_as(vectors: np.ndarray, numbers: Numbers) -> np.ndarray:
    """Unit vectors [n, d] as float32, float16 or int8 [n, d], or binary uint8 [n, d/8].

    int8 scales each vector by its own largest value to ±127. Cosine ignores a vector's scale, so no calibration set is
    needed. A product of int8 vectors has to be taken in wider numbers: `a.astype(np.int32) @ b.T.astype(np.int32)`, as
    numpy's own overflows silently. binary keeps the signs, most significant bit first; compare by Hamming distance. Raises ItemError for any
    other `numbers`.
    """
    if numbers == "float32":
        return vectors
    if numbers == "float16":
        return vectors.astype(np.float16)
    if numbers == "int8":
        largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0)
        scaled: np.ndarray = np.rint(vectors * (127 / np.where(largest == 0, 1, largest))).astype(np.int8)
        return scaled
    if numbers == "binary":
        return np.packbits(vectors > 0, axis=1)
    raise ItemError(f"numbers {numbers!r} is not supported: expected one of {', '.join(NUMBERS)}")


def candidates(query: np.ndarray, codes: np.ndarray, count: int = 100) -> np.ndarray:
    """Rows int64 [min(count, n)], in no order, of the stored vectors whose signs agree best with a query's.

    `query` is float [d]; `codes` are the stored vectors in binary, uint8 [n, d/8], 64 bytes for 512 dimensions. Score
    the candidates again with better numbers. To search under a task, fold the query first (see `fold`). Raises
    ItemError for shapes that do not fit.
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
