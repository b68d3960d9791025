"""Closed-form start of a linear mapper."""

import torch
from torch import Tensor


def ridge_to_identity(base: Tensor, target: Tensor, strength: float) -> Tensor:
    """W [D, D] that minimises |base Wᵀ - target|² + strength · n · |W - I|² over n rows.

    base and target are [n, D]. The pull is towards the identity and not towards zero: without evidence a
    mapper leaves a vector as it is. Solved exactly in float64, returned in the input's dtype.
    """
    b, t = base.double(), target.double()
    penalty = strength * len(b) * torch.eye(b.shape[1], dtype=torch.float64)
    weight = torch.linalg.solve(b.T @ b + penalty, b.T @ t + penalty).T
    return weight.to(base.dtype)
