"""unbraid: encode text, code and images once on a CPU, then change what "similar" means in microseconds."""

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

__version__ = "0.1.0"

__all__ = [
    "BundleError",
    "Code",
    "DataError",
    "Embedder",
    "ImageError",
    "ItemError",
    "MissingExtraError",
    "StoreError",
    "UnbraidError",
    "load",
    "open_index",
]
