"""Task mappers: base vector in, task vector out (torch). Vectors only; no mapper knows an encoder."""

from unbraid.mappers.gated import GatedMapper
from unbraid.mappers.linear import LinearMapper, LowRankMapper
from unbraid.mappers.mapper_weights import Mapper, load_mapper, save_mapper

__all__ = [
    "GatedMapper",
    "LinearMapper",
    "LowRankMapper",
    "Mapper",
    "load_mapper",
    "save_mapper",
]
