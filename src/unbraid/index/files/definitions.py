"""Sections of a file that holds definitions within definitions: functions in a class, keys in a table."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from unbraid.index.files.chunk import Lines, Section, below, from_starts

_CLOSING = re.compile(r"\W*(end\b\W*|#endif.*|\}\s*(//|/\*).*)?$")


@dataclass(frozen=True)
class Definition:
    """Lines [first, end) from 0 of a definition, with the comments directly above it; the name may be empty."""

    first: int
    end: int
    name: str


def from_definitions(source: Lines, definitions: Iterable[Definition]) -> list[Section]:
    """One section per definition and per run of other lines, cut further where a definition does not fit.

    An outer definition comes before those in it. What ends before the one around it is followed by a section of its own.
    """
    starts: dict[int, tuple[tuple[str, ...], str]] = {}  # first line -> (context, name)
    open_: list[tuple[Definition, tuple[str, ...]]] = []  # enclosing definitions, each with its own context

    def close(until: int) -> None:
        """Close what ends at or before line `until`; what follows in the same block begins a section."""
        while open_ and open_[-1][0].end <= until:
            closed, context = open_.pop()
            limit = min(until, open_[-1][0].end) if open_ else until  # at `until` the next one begins
            rest = closed.end
            while rest < limit and _CLOSING.fullmatch(source.lines[rest]):
                rest += 1
            if rest < limit:
                starts.setdefault(rest, (context, ""))

    for definition in definitions:
        close(definition.first)
        if open_ and source.fit(open_[-1][0].first, open_[-1][0].end):
            continue
        context = below(open_[-1][1], open_[-1][0].name) if open_ else ()
        if open_ and open_[-1][0].first == definition.first:  # on one line with what holds it
            continue
        starts[definition.first] = context, definition.name
        open_.append((definition, context))
    close(len(source.lines))
    return from_starts(starts, len(source.lines))
