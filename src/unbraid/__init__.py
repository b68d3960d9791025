"""unbraid: encode text, code and images once on a CPU, then change what "similar" means in microseconds."""

from unbraid.custom_mapper.fit_mapper import fit_mapper
from unbraid.custom_mapper.mapper_file import CustomMapper
from unbraid.embedder import Embedder
from unbraid.errors import (
    BundleError,
    DataError,
    ImageError,
    ItemError,
    MissingExtraError,
    StoreError,
    UnbraidError,
)
from unbraid.items import Code
from unbraid.loading import load, open_index
from unbraid.mix import Mix

__version__ = "0.1.0"

__all__ = [
    "BundleError",
    "Code",
    "CustomMapper",
    "DataError",
    "Embedder",
    "ImageError",
    "ItemError",
    "MissingExtraError",
    "Mix",
    "StoreError",
    "UnbraidError",
    "fit_mapper",
    "load",
    "open_index",
]
