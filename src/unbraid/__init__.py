"""unbraid: encode text, code and images once on a CPU, then change what "similar" means in microseconds."""

from unbraid.custom_mapper.fit_mapper import fit_mapper
from unbraid.custom_mapper.mapper_file import CustomMapper
from unbraid.embedder import Embedder
from unbraid.errors import BundleError as BundleError
from unbraid.errors import DataError as DataError
from unbraid.errors import ImageError as ImageError
from unbraid.errors import ItemError as ItemError
from unbraid.errors import MissingExtraError as MissingExtraError
from unbraid.errors import StoreError as StoreError
from unbraid.errors import UnbraidError as UnbraidError
from unbraid.items import Code as Code
from unbraid.loading import load, open_index
from unbraid.mix import Mix

__version__ = "0.1.0"

# What help(unbraid) describes in full. The errors and Code, which is a str, would add a thousand lines of what they inherit.
__all__ = [
    "CustomMapper",
    "Embedder",
    "Mix",
    "fit_mapper",
    "load",
    "open_index",
]
