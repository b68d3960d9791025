"""Copies of one passage, which are one result."""

from collections.abc import Iterable, Sequence

from unbraid.index.search.hit import Place
from unbraid.index.search.merge_adjacent import join_chunks, merge_adjacent
from unbraid.index.store.entry import Entry


def copy_key(entry: Entry) -> str:
    """What copies of a chunk have in common: its text with one space for each run of white space.

    A picture has a key of its own, whatever the words in it.
    """
    return f"\0{entry.path}\0{entry.chunk}" if entry.of_picture else " ".join(entry.snippet.split())


def first_of_copies(keys: Iterable[str]) -> list[int]:
    """For each key the position of the first that is equal to it, its own where there is none before it."""
    first: dict[str, int] = {}
    return [first.setdefault(key, position) for position, key in enumerate(keys)]


def places_of(copies: Sequence[Entry], chunks: Sequence[Entry]) -> list[Place]:
    """The places of `copies`, adjacent ones as one, in their order; none that is a place of `chunks`, of which they are copies."""
    shown = {_place(entry) for entry in chunks}
    others = [entry for entry in copies if _place(entry) not in shown]
    places = []
    for result in merge_adjacent(others, len(others)):
        first, last, _ = join_chunks([others[position] for position in result])
        places.append(Place(others[result[0]].path, first, last, others[result[0]].unit))
    return places


def _place(entry: Entry) -> Place:
    return Place(entry.path, entry.first_line, entry.last_line, entry.unit)
