"""How much of a model's ranking another form of it keeps."""

import numpy as np

NEAREST = 10


def agreement(vectors: np.ndarray, others: np.ndarray) -> float:
    """The share of each row's ten nearest rows that is the same in both, float [n, d] each, unit length; 0 to 1.

    Not a number in either counts as no agreement.
    """
    if not (np.isfinite(vectors).all() and np.isfinite(others).all()):
        return 0.0
    nearest = min(NEAREST, len(vectors) - 1)
    both = zip(_nearest(vectors, nearest), _nearest(others, nearest), strict=True)
    return float(np.mean([len(set(one) & set(other)) / nearest for one, other in both]))


def _nearest(vectors: np.ndarray, count: int) -> np.ndarray:
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -np.inf)
    rows: np.ndarray = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    return rows
