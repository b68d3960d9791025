"""What retrievers of frameworks share: a search in an open index, and what they say of a hit."""

from collections.abc import Mapping
from threading import Lock
from typing import TYPE_CHECKING, Any

from unbraid.errors import ItemError
from unbraid.mix import Query

if TYPE_CHECKING:  # loads Qdrant Edge, which those who only encode do not need
    from unbraid.index.index import Index
    from unbraid.index.search.hit import Hit

_one_at_a_time = Lock()  # frameworks search from many threads; an Index is for one


def check_options(options: Mapping[str, Any]) -> None:
    """Raise ItemError for an option that `Index.search` does not take."""
    from unbraid.index.index import SearchOptions

    if unknown := set(options) - set(SearchOptions.__annotations__):
        known = ", ".join(SearchOptions.__annotations__)
        raise ItemError(f"unknown search option {min(unknown)!r}: Index.search takes {known}")


def search(index: "Index", query: Query, options: Mapping[str, Any]) -> list["Hit"]:
    """The hits of one query, best first. Raises what `Index.search` raises."""
    with _one_at_a_time:
        return index.search(query, **options)


def hit_metadata(hit: "Hit") -> dict[str, Any]:
    """Place, path, lines, modality, headings around it and score of a hit, as JSON holds them."""
    return {
        "place": hit.place,
        "path": hit.path,
        "first_line": hit.first_line,
        "last_line": hit.last_line,
        "modality": hit.modality,
        "within": hit.within,
        "score": hit.score,
    }
