"""A folder of text, code and pictures, searchable under any task. `Index` is the object; `unbraid.open_index` makes it."""

from unbraid.index.add import Report
from unbraid.index.index import Index, Stats
from unbraid.index.search.hit import Hit, Place
from unbraid.index.store.entry import Entry
from unbraid.index.store.filter import Filter
from unbraid.index.store.storage import Storage

__all__ = ["Entry", "Filter", "Hit", "Index", "Place", "Report", "Stats", "Storage"]
