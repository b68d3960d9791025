"""Closed-form read-out: the linear map from base vectors to what a teacher gives."""

import torch
from torch import Tensor


def ridge(base: Tensor, target: Tensor, strength: float, towards: Tensor | None = None) -> Tensor:
    """W [D, D] that minimises |base Wᵀ - target|² + strength · n · |W - towards|² over n rows.

    base and target are [n, D]; `towards` [D, D] is what W is without evidence, zero if None. Solved exactly in
    float64 (the normal equations of ridge regression, Hoerl & Kennard 1970), returned in the input's dtype.
    """
    b, t = base.double(), target.double()
    penalty = strength * len(b) * torch.eye(b.shape[1], dtype=torch.float64)
    pull = penalty @ (torch.zeros(b.shape[1], t.shape[1]) if towards is None else towards.T).double()
    weight = torch.linalg.solve(b.T @ b + penalty, b.T @ t + pull).T
    return weight.to(base.dtype)


def truncated(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """U, V [D, rank] whose product U Vᵀ is the nearest matrix of that rank (Eckart-Young)."""
    u, s, vt = torch.linalg.svd(matrix)
    root = s[:rank].sqrt()
    return u[:, :rank] * root, vt[:rank].T * root
