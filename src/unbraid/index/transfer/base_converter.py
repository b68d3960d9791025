"""Fitting a map from one base space to another on items that both encoders have seen, in numpy.

n items, A and B dimensions. The map is a ridge regression towards the best rotation. The rotation alone keeps what every
vector holds and is right for texts unlike those of the fit; the regression adds what the evidence is strong enough for.
Kernel regression on top of it gained .005 of the nearest ten on texts like those of the fit and lost as much on others
(docs/experiments.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unbraid.ridge import ridge
from unbraid.vectors import normalize

STRENGTHS = (0.1, 0.3, 1.0, 3.0)  # of the pull towards the rotation, in mean eigenvalues
FOLDS = 5
NEAREST = 10
LEAST = 50  # items of a kind: with fewer, ten nearest say nothing


@dataclass(frozen=True)
class Quality:
    """How converted vectors of one kind of item differ from re-encoded ones, on items that the map had not seen.

    `recall`: of the ten items whose re-encoded vectors are nearest to an item's own, how many are among the ten whose
    converted ones are. `nearest`: how often the nearest one is. Both among the `items` of that kind.
    """

    items: int
    cosine: float
    recall: float
    nearest: float


def convert(matrix: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Unit vectors float32 [n, B] in the new space of `vectors` [n, A] in the old, for `matrix` [B, A]."""
    return normalize(vectors @ matrix.T)


def fit_rotation(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """R [B, A] that minimizes |old Rᵀ - new|² over rows old [n, A], new [n, B], with orthonormal rows or columns.

    Orthogonal Procrustes, Schönemann 1966. With fewer items than dimensions what they do not span is left to chance.
    """
    left, _, right = np.linalg.svd(new.T.astype(np.float64) @ old, full_matrices=False)
    rotation: np.ndarray = left @ right
    return rotation


def fit_ridge(old: np.ndarray, new: np.ndarray, strength: float, towards: np.ndarray) -> np.ndarray:
    """W [B, A] that minimizes |old Wᵀ - new|² + strength · c · |W - towards|², c the mean eigenvalue of oldᵀ old."""
    eigenvalue = np.square(old, dtype=np.float64).sum() / old.shape[1]
    return ridge(old, new, strength * eigenvalue, towards)


def fit_converter(
    old: np.ndarray, new: np.ndarray, kinds: Sequence[str], *, seed: int = 0
) -> tuple[np.ndarray, float, dict[str, Quality]]:
    """A map from old [n, A] to new [n, B] unit vectors: (float32 [B, A], its strength, its quality by kind).

    The strength is the one whose maps keep most of the nearest ten in five-fold cross-validation, kinds counted alike.
    A kind with fewer than 50 items has no quality; all of them are fitted on. Raises ValueError when no kind has 50.
    """
    rows = {kind: np.flatnonzero(np.asarray(kinds) == kind) for kind in dict.fromkeys(kinds)}
    judged = {kind: own for kind, own in rows.items() if len(own) >= LEAST}
    if not judged:
        raise ValueError(f"{len(old)} pairs, expected {LEAST} of one kind at least")
    fold = np.random.default_rng(seed).permutation(len(old)) % FOLDS
    unseen = {strength: np.empty(new.shape, np.float32) for strength in STRENGTHS}
    for number in range(FOLDS):
        held_out = fold == number
        rotation = fit_rotation(old[~held_out], new[~held_out])
        for strength, converted in unseen.items():
            matrix = fit_ridge(old[~held_out], new[~held_out], strength, rotation)
            converted[held_out] = convert(matrix, old[held_out])
    found = {
        strength: {kind: quality(new[own], converted[own]) for kind, own in judged.items()}
        for strength, converted in unseen.items()
    }
    best = max(found, key=lambda strength: sum(one.recall for one in found[strength].values()))
    matrix = fit_ridge(old, new, best, fit_rotation(old, new))
    return matrix.astype(np.float32), best, found[best]


def quality(new: np.ndarray, converted: np.ndarray) -> Quality:
    """How `converted` [n, B] differ from `new` [n, B], unit vectors of the same items; n is more than ten."""
    truth, found = new @ new.T, new @ converted.T
    np.fill_diagonal(truth, -np.inf)
    np.fill_diagonal(found, -np.inf)
    wanted, have = (np.argpartition(-one, NEAREST, axis=1)[:, :NEAREST] for one in (truth, found))
    kept = (wanted[:, :, None] == have[:, None, :]).any(axis=2)
    first = (have == truth.argmax(axis=1)[:, None]).any(axis=1)
    cosine = np.einsum("nd,nd->n", new, converted).mean()
    return Quality(len(new), float(cosine), float(kept.mean()), float(first.mean()))
