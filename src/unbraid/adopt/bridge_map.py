"""An affine map from one model's space into another's, fitted on the vectors that both give the same texts.

Ridge regression that is pulled towards the best rotation (Procrustes) in place of zero. Where texts say little of a direction
the rotation decides, which keeps what the model tells apart; elsewhere the regression, which finds more across the two
(docs/experiments.md).
"""

from dataclasses import dataclass

import numpy as np

from unbraid.ridge import ridge
from unbraid.vectors import normalize

PENALTY = 0.3  # of the sum of squares in a direction, on average; from .03 to 1 a search finds the same
NEAREST = 10


@dataclass(frozen=True)
class AffineMap:
    """normalize(weight x + constant) of a unit vector x."""

    weight: np.ndarray  # float32 [B, A]
    constant: np.ndarray  # float32 [B]

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Unit vectors float32 [n, B] of vectors [n, A]."""
        return normalize(vectors @ self.weight.T + self.constant)


def fit_map(own: np.ndarray, theirs: np.ndarray) -> AffineMap:
    """The map from unit vectors `own` [n, A] to `theirs` [n, B] of the same texts, row by row."""
    own_mean, their_mean = own.mean(0), theirs.mean(0)
    x, y = own - own_mean, theirs - their_mean
    left, _, right = np.linalg.svd(y.T.astype(np.float64) @ x, full_matrices=False)
    turn = left @ right
    turned = x @ turn.T
    scale = float((turned * y).sum() / max(float(np.square(turned).sum()), 1e-12))
    penalty = max(PENALTY * float(np.square(x).sum()) / x.shape[1], 1e-9)
    weight = ridge(x, y, penalty, scale * turn)
    constant = their_mean - weight @ own_mean
    return AffineMap(weight.astype(np.float32), constant.astype(np.float32))


def recall(questions: np.ndarray, documents: np.ndarray) -> float:
    """The share of `questions` whose own row of `documents` is among the NEAREST of all of them."""
    scores = questions @ documents.T
    nearer = (scores > np.diagonal(scores)[:, None]).sum(1)
    return float((nearer < NEAREST).mean())
