"""Task mappers: base vector in, task vector out (torch). Vectors only; no mapper knows an encoder."""

from unbraid.mappers.linear import LinearMapper, LowRankMapper, Mapper, load_mapper, save_mapper
from unbraid.mappers.ridge import ridge_to_identity

__all__ = ["LinearMapper", "LowRankMapper", "Mapper", "load_mapper", "ridge_to_identity", "save_mapper"]
