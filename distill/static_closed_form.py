"""A static encoder in closed form: the token rows whose means are nearest to the targets, then cut to a narrow table.

An item is described by the share of each token in it. Its vector is a mean of token rows, so the rows are a ridge
regression from shares to targets. The regression shrinks to a prior row instead of zero: a token that is rare or
absent in the data keeps what the pre-trained backbone knows of it.
"""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_matrix

from unbraid.ridge import ridge

COLUMNS = 64  # solved at once: what one iteration touches then fits the memory of small machines
ITERATIONS = 15  # of conjugate gradients: held-out cosine .8964 after 5, .8967 after 10, .8969 after 20


def token_shares(ids: Sequence[Sequence[int]], tokens: int) -> csr_matrix:
    """Sparse float32 [n, tokens]: how often each token stands in an item, divided by the item's length."""
    lengths = np.fromiter(map(len, ids), np.int64, len(ids))
    columns = np.fromiter((one for item in ids for one in item), np.int32, int(lengths.sum()))
    shares = np.repeat(1 / np.maximum(lengths, 1), lengths).astype(np.float32)
    made = csr_matrix((shares, columns, np.concatenate([[0], lengths.cumsum()])), (len(ids), tokens))
    made.sum_duplicates()
    return made


def prior_rows(embeddings: np.ndarray, shares: csr_matrix, targets: np.ndarray) -> np.ndarray:
    """Rows float32 [tokens, D] linear in the backbone's `embeddings` [tokens, E], fitted to `targets` [n, D]."""
    pooled = np.asarray(shares @ embeddings, dtype=np.float64)
    penalty = 1e-4 * np.square(pooled).sum() / pooled.shape[1]  # for fewer items than dimensions
    rows: np.ndarray = embeddings @ ridge(pooled, targets, penalty).T
    return rows.astype(np.float32)


def fit_rows(shares: csr_matrix, targets: np.ndarray, prior: np.ndarray, *, strength: float) -> np.ndarray:
    """Rows R float32 [tokens, D] that nearly minimize |shares R - targets|^2 + strength |R - prior|^2.

    targets [n, D], prior [tokens, D]. Conjugate gradients for each column, scaled by the diagonal: the frequencies of
    tokens differ by five orders of magnitude.
    """
    back = shares.T.tocsr()
    scale = np.asarray(shares.multiply(shares).sum(0), dtype=np.float32).reshape(-1, 1) + strength
    rows = prior.copy()
    for first in range(0, targets.shape[1], COLUMNS):
        part = slice(first, first + COLUMNS)
        residual = back @ (targets[:, part].astype(np.float32) - shares @ prior[:, part])
        scaled = residual / scale
        direction, size = scaled, (residual * scaled).sum(0)
        for _ in range(ITERATIONS):
            product = back @ (shares @ direction) + strength * direction
            step = size / np.maximum((direction * product).sum(0), 1e-30)
            rows[:, part] += step * direction
            residual = residual - step * product
            scaled = residual / scale
            size, before = (residual * scaled).sum(0), size
            direction = scaled + size / np.maximum(before, 1e-30) * direction
    return rows


def factorize(rows: np.ndarray, weights: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Table [tokens, width] and projection [D, width], whose product is nearest to `rows` [tokens, D].

    Squared distances count by `weights` [tokens]. The projection's columns are orthonormal (Eckart-Young).
    """
    weighted = rows * np.sqrt(weights, dtype=np.float32)[:, None]
    _, axes = np.linalg.eigh((weighted.T @ weighted).astype(np.float64))
    projection = np.ascontiguousarray(axes[:, ::-1][:, :width], dtype=np.float32)
    return rows @ projection, projection
