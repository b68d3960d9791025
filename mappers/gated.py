"""A gated residual MLP, for a task that is not linear. It does not fold: a search finds candidates by its linear part."""

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu


class GatedMapper(nn.Module):
    """normalize(W b + g MLP(b)): W [D, D], a gate g per output dimension, one hidden layer.

    The last layer is zero at the start, so the mapper starts as the linear one.
    """

    kind = "gated"

    def __init__(self, start: Tensor, hidden: int) -> None:
        """Start from the matrix `start` [D, D], with `hidden` units beside it."""
        super().__init__()
        dim = len(start)
        self.weight = nn.Parameter(start.detach().clone())
        self.into = nn.Linear(dim, hidden)
        self.out = nn.Linear(hidden, dim, bias=False)
        nn.init.zeros_(self.out.weight)
        self.gate = nn.Parameter(torch.full((dim,), 0.1))

    def matrix(self) -> Tensor:
        """W [D, D]: the linear part. A search fetches with it and scores with the whole mapper."""
        return self.weight

    def forward(self, base: Tensor) -> Tensor:
        """W b + g MLP(b), not yet normalized, for base vectors [B, D]."""
        return base @ self.weight.T + self.gate * self.out(gelu(self.into(base)))
