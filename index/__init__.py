"""A folder of text, code and pictures, searchable under any task: walk, chunk, store, update, search."""

from unbraid.index.meta import provenance
from unbraid.index.only import Only, only
from unbraid.index.search import Hit, search, search_vectors
from unbraid.index.storage import Storage
from unbraid.index.store import Store
from unbraid.index.update import Report, update

__all__ = [
    "Hit",
    "Only",
    "Report",
    "Storage",
    "Store",
    "only",
    "provenance",
    "search",
    "search_vectors",
    "update",
]
