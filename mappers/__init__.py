"""Task mappers: base vector in, task vector out (torch). Vectors only; no mapper knows an encoder."""

from unbraid.mappers.files import Mapper, load_mapper, save_mapper
from unbraid.mappers.gated import GatedMapper
from unbraid.mappers.linear import LinearMapper, LowRankMapper
from unbraid.mappers.ridge import ridge, truncated

__all__ = [
    "GatedMapper",
    "LinearMapper",
    "LowRankMapper",
    "Mapper",
    "load_mapper",
    "ridge",
    "save_mapper",
    "truncated",
]
