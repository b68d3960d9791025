"""Fewer dimensions by PCA: the directions that keep most of what a model's vectors say of each other."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from unbraid.adopt.agreement import agreement
from unbraid.adopt.models import TextModel
from unbraid.adopt.sentence_encoder import Projected
from unbraid.errors import AdoptError
from unbraid.vectors import normalize


@dataclass(frozen=True)
class Cost:
    """What fewer dimensions cost, on texts that the fit did not see."""

    energy: float  # share of the squared length that is kept
    agreement: float  # share of the ten nearest that stay


def fit_projection(vectors: np.ndarray, dim: int) -> np.ndarray:
    """Rows float32 [dim, D], orthonormal: the first principal directions of unit `vectors` [n, D], not centred.

    Among all projections to `dim` dimensions they keep the dot products best. Raises AdoptError for too few vectors.
    """
    if len(vectors) < 2 * dim:
        raise AdoptError(f"{len(vectors)} texts to fit {dim} dimensions on, expected at least {2 * dim}")
    moments = vectors.T.astype(np.float64) @ vectors
    _, directions = np.linalg.eigh(moments)
    return np.ascontiguousarray(directions[:, ::-1][:, :dim].T.astype(np.float32))


def cost(matrix: np.ndarray, unseen: np.ndarray) -> Cost:
    """What the projection `matrix` [dim, D] costs on `unseen` unit vectors [n, D]."""
    kept = unseen @ matrix.T
    return Cost(float(np.square(kept).sum() / np.square(unseen).sum()), agreement(unseen, normalize(kept)))


def projected(text: TextModel, matrix: np.ndarray) -> TextModel:
    """`text` with the projection `matrix` [dim, D] before the last normalization."""

    def original(texts: Sequence[str], prompt: str | None) -> np.ndarray:
        return normalize(text.original(texts, prompt) @ matrix.T)

    encoder = Projected(text.encoder, torch.from_numpy(matrix)).eval().requires_grad_(False)
    return replace(text, encoder=encoder, dim=len(matrix), original=original)
