"""Linear and low-rank mappers: both fold into the query (docs/decisions.md)."""

import torch
from torch import Tensor, nn


class LinearMapper(nn.Module):
    """normalize(W b) with a full matrix W [D, D]."""

    kind = "linear"

    def __init__(self, start: Tensor) -> None:
        """Start from the matrix `start` [D, D]."""
        super().__init__()
        self.weight = nn.Parameter(start.detach().clone())

    def matrix(self) -> Tensor:
        """W [D, D], which a search folds into the query."""
        return self.weight

    def forward(self, base: Tensor) -> Tensor:
        """W b, not yet normalized, for base vectors [B, D]."""
        return base @ self.weight.T


class LowRankMapper(nn.Module):
    """normalize(W b + U Vᵀ b) with a fixed W [D, D] and U, V [D, rank]; U is zero at the start."""

    kind = "low-rank"

    def __init__(self, start: Tensor, rank: int) -> None:
        """Start from the matrix `start` [D, D], with room for a change of `rank`."""
        super().__init__()
        dim = len(start)
        self.register_buffer("start", start.detach().clone())
        self.up = nn.Parameter(torch.zeros(dim, rank))
        self.down = nn.Parameter(torch.randn(dim, rank) / dim**0.5)

    def matrix(self) -> Tensor:
        """W + U Vᵀ [D, D], which a search folds into the query."""
        return self.start + self.up @ self.down.T

    def forward(self, base: Tensor) -> Tensor:
        """W b + U Vᵀ b, not yet normalized, for base vectors [B, D]."""
        return base @ self.start.T + base @ self.down @ self.up.T
