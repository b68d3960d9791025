"""A folder of text, code and pictures, searchable under any task: walk, chunk, store, update, search."""

from unbraid.index.search.search import Hit, search, search_vectors
from unbraid.index.store.filter import Only, only
from unbraid.index.store.folder_store import Store
from unbraid.index.store.meta import provenance
from unbraid.index.store.vector_storage import Storage
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
