"""Mappers as safetensors files; the names of the tensors tell the kind of mapper."""

import json
from pathlib import Path
from typing import TypeAlias

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from unbraid.errors import DataError
from unbraid.mappers.gated import GatedMapper
from unbraid.mappers.linear import LinearMapper, LowRankMapper

Mapper: TypeAlias = LinearMapper | LowRankMapper | GatedMapper


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
    found: Mapper | None = None
    match shapes:
        case {"weight": (out, dim)} if out == dim and len(shapes) == 1:
            found = LinearMapper(torch.empty(dim, dim))
        case {"start": (out, dim), "up": (_, rank)} if out == dim:
            found = LowRankMapper(torch.empty(dim, dim), rank)
        case {"weight": (out, dim), "out.weight": (_, hidden)} if out == dim:
            found = GatedMapper(torch.empty(dim, dim), hidden)
    expected = {} if found is None else {name: tuple(one.shape) for name, one in found.state_dict().items()}
    if found is None or shapes != expected:
        raise DataError(f"{path}: holds {shapes}, expected a linear, a low-rank or a gated mapper")
    found.load_state_dict(tensors)
    return found
