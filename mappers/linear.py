"""Linear and low-rank mappers. Both start as the identity and both fold into the query (docs/decisions.md)."""

import json
from pathlib import Path
from typing import TypeAlias

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from unbraid.errors import DataError


class LinearMapper(nn.Module):
    """normalise(W b) with a full matrix W [D, D], the identity at the start."""

    kind = "linear"

    def __init__(self, dim: int) -> None:
        """Make the identity mapper of `dim` dimensions."""
        super().__init__()
        self.weight = nn.Parameter(torch.eye(dim))

    def matrix(self) -> Tensor:
        """W [D, D]: what a search folds into the query."""
        return self.weight

    def forward(self, base: Tensor) -> Tensor:
        """W b, not yet normalised, for base vectors [B, D]."""
        return base @ self.weight.T


class LowRankMapper(nn.Module):
    """normalise(b + U Vᵀ b) with U, V [D, rank]; U is zero at the start, so the mapper is the identity."""

    kind = "low-rank"

    def __init__(self, dim: int, rank: int) -> None:
        """Make the identity mapper of `dim` dimensions with room for a change of `rank`."""
        super().__init__()
        self.up = nn.Parameter(torch.zeros(dim, rank))
        self.down = nn.Parameter(torch.randn(dim, rank) / dim**0.5)

    def matrix(self) -> Tensor:
        """W = I + U Vᵀ [D, D]: what a search folds into the query."""
        return torch.eye(len(self.up)) + self.up @ self.down.T

    def forward(self, base: Tensor) -> Tensor:
        """W b, not yet normalised, for base vectors [B, D]."""
        return base + base @ self.down @ self.up.T


Mapper: TypeAlias = LinearMapper | LowRankMapper


def save_mapper(mapper: Mapper, path: Path) -> None:
    """Write the mapper as safetensors with its kind as metadata."""
    tensors = {name: tensor.contiguous() for name, tensor in mapper.state_dict().items()}
    save_file(tensors, path, metadata={"mapper": json.dumps({"kind": mapper.kind})})


def load_mapper(path: Path) -> Mapper:
    """Read what `save_mapper` wrote. Raises DataError for a file that is no mapper of a known kind."""
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path}: not a readable mapper: {error}") from error
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    mapper: Mapper
    match shapes:
        case {"weight": (out, dim), **rest} if out == dim and not rest:
            mapper = LinearMapper(dim)
        case {"up": (dim, rank), "down": down, **rest} if down == (dim, rank) and not rest:
            mapper = LowRankMapper(dim, rank)
        case _:
            raise DataError(f"{path}: holds {shapes}, expected a linear or a low-rank mapper")
    mapper.load_state_dict(tensors)
    return mapper
