"""A folder of text, code and pictures, searchable under any task: walk, chunk, store, update, search."""

from unbraid.index.meta import provenance
from unbraid.index.search import Hit, search, search_vector
from unbraid.index.store import Store
from unbraid.index.update import Report, update

__all__ = ["Hit", "Report", "Store", "provenance", "search", "search_vector", "update"]
