"""An affine map from one model's space into another's, fitted on the vectors that both give the same texts.

Three ways are tried, and the one that finds most on texts apart is taken: ridge regression from the one to the other; the
same the other way round, turned back (it makes fewer hubs: Shigeto et al. 2015); and the best rotation (Procrustes).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from unbraid.ridge import ridge
from unbraid.vectors import normalize

# Of the sum of squares in each direction that there is, on average.
PENALTIES = (0.001, 0.01, 0.1, 1.0)
NEAREST = 10


@dataclass(frozen=True)
class AffineMap:
    """normalize(weight x + constant) of a unit vector x."""

    weight: np.ndarray  # float32 [B, A]
    constant: np.ndarray  # float32 [B]
    way: str  # how it was fitted

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Unit vectors float32 [n, B] of vectors [n, A]."""
        return normalize(vectors @ self.weight.T + self.constant)


@dataclass(frozen=True)
class Pairs:
    """Vectors of questions and of the documents that answer them, row by row, from one model: unit, [n, A]."""

    questions: np.ndarray
    documents: np.ndarray


def fit_maps(own: np.ndarray, theirs: np.ndarray) -> Iterator[AffineMap]:
    """Every map that is tried, from vectors `own` [n, A] to `theirs` [n, B] of the same texts."""
    own_mean, their_mean = own.mean(0), theirs.mean(0)
    x, y = own - own_mean, theirs - their_mean

    def affine(weight: np.ndarray, way: str) -> AffineMap:
        constant = their_mean - weight @ own_mean
        return AffineMap(weight.astype(np.float32), constant.astype(np.float32), way)

    for share in PENALTIES:
        yield affine(ridge(x, y, share * _energy(x)), f"ridge {share:g}")
        back = ridge(y, x, share * _energy(y)).T  # [B, A]
        yield affine(back * _scale(x @ back.T, y), f"ridge back {share:g}")
    left, _, right = np.linalg.svd(y.T.astype(np.float64) @ x, full_matrices=False)
    turn = left @ right
    yield affine(turn * _scale(x @ turn.T, y), "rotation")


def best_map(own: np.ndarray, theirs: np.ndarray, apart: tuple[Pairs, Pairs]) -> AffineMap:
    """The map that finds most on `apart`: the same pairs from both models, of texts that are not among the rows."""
    return max(fit_maps(own, theirs), key=lambda one: _crossing(one, *apart))


def _crossing(one: AffineMap, own: Pairs, theirs: Pairs) -> float:
    """The mean reciprocal rank across the two models and within the bridged one: finer than recall on a few questions."""
    questions, documents = one(own.questions), one(own.documents)
    searches = [(questions, theirs.documents), (theirs.questions, documents), (questions, documents)]
    return float(np.mean([1 / (1 + _ranks(*search)) for search in searches]))


def recall(questions: np.ndarray, documents: np.ndarray) -> float:
    """The share of `questions` whose own row of `documents` is among the NEAREST of all of them."""
    return float((_ranks(questions, documents) < NEAREST).mean())


def _ranks(questions: np.ndarray, documents: np.ndarray) -> np.ndarray:
    """How many other rows of `documents` are nearer than a question's own, int [n]."""
    scores = questions @ documents.T
    nearer: np.ndarray = (scores > np.diagonal(scores)[:, None]).sum(1)
    return nearer


def _energy(x: np.ndarray) -> float:
    return float(np.square(x).sum() / x.shape[1])


def _scale(mapped: np.ndarray, y: np.ndarray) -> float:
    """By how much `mapped` has to be multiplied to be nearest to `y`: the constant is not scaled with it."""
    return float((mapped * y).sum() / np.square(mapped).sum())
