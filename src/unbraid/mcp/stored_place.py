"""What the index holds at a place of a file, and the lines of the file itself where it is still what was indexed."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

from unbraid.errors import DataError, ItemError
from unbraid.index.files.chunk import split_lines
from unbraid.index.files.decode import decode
from unbraid.index.search.merge_adjacent import join_chunks
from unbraid.index.store.entry import Entry
from unbraid.io.printable import printable
from unbraid.io.regular_file import read_regular

CHANGED = (
    "The file is not as it was indexed: this is what the index stored. unbraid index brings it up to date."
)
MARKUP = ("html", "notebook")  # whose words may stand in their lines by chance
STORED = "This is the text that was read from the file, not its lines."


@dataclass(frozen=True)
class PlaceText:
    """Lines of a text; `core` are the positions of the first one that was asked for, and of the one after the last.

    `first_line` and `last_line` are their numbers in the file, or of what `unit` says; None for a picture. `total` is the
    number of lines of the file where these are its lines, which is when one line has one number.
    """

    lines: list[str]
    first_line: int | None
    last_line: int | None
    core: tuple[int, int]
    total: int | None = None
    note: str = ""
    unit: str = ""


def of_unit(entries: Sequence[Entry], unit: str | None, line: int | None) -> list[Entry]:
    """The chunks of a file that count in `unit`, as a place shows it; all where it has no such.

    A sheet has its own rows, and a file in an archive its own lines. So where there is a `line` and no `unit`, it is that of
    the chunk at the line.
    """
    if unit is None:
        if line is None:
            return list(entries)
        unit = printable(entries[chunk_at(entries, line)].unit)
    # A page of a PDF is shown as one, and stored without a unit.
    wanted = {unit, ""} if unit == "page" else {unit}
    return [one for one in entries if printable(one.unit) in wanted] or list(entries)


def chunk_at(entries: Sequence[Entry], line: int | None) -> int:
    """The position of the chunk of a file that holds `line`, the shortest of several, else of the nearest one.

    Without a line it is the first: a picture, or the beginning of the file.
    """

    def distance(position: int) -> tuple[int, int, int]:
        one = entries[position]
        first, last = one.first_line or 1, one.last_line or 1
        away = 0 if line is None else max(first - line, line - last, 0)
        return away, 0 if line is None else last - first, one.chunk

    return min(range(len(entries)), key=distance)


def text_at(entries: Sequence[Entry], first: int | None, last: int | None, context: int) -> PlaceText:
    """Lines `first` to `last` and `context` around them: of the file where it is unchanged, else of the stored chunks.

    Without `first` it is the whole text. `entries` are all chunks of one file. Raises ItemError where it has no such lines.
    """
    entries = sorted(entries, key=lambda one: one.chunk)
    last = first if last is None else last
    content = unchanged_content(entries[0])
    if content is not None and (lines := own_lines(entries, content)):
        if first is None or last is None:
            return PlaceText(lines, 1, len(lines), (0, len(lines)), len(lines))
        if first > len(lines):
            raise ItemError(f"the file has {len(lines)} lines, so none is line {first}")
        last = min(last, len(lines))
        start, end = max(0, first - 1 - context), min(len(lines), last + context)
        return PlaceText(lines[start:end], start + 1, end, (first - 1 - start, last - start), len(lines))
    chosen = entries
    if first is not None and last is not None and any(one.first_line for one in entries):
        chosen = [one for one in entries if _overlaps(one, first - context, last + context)]
    if not chosen:
        ends = max(one.last_line or 1 for one in entries)
        raise ItemError(f"the index holds no text of that place; what it holds ends at {ends}")
    begins, ends_at, text = join_chunks(chosen)
    found = text.split("\n") if text else []
    note = CHANGED if content is None else "" if entries[0].of_picture else STORED
    units = {one.unit for one in chosen}
    return PlaceText(
        found, begins, ends_at, (0, len(found)), note=note, unit=units.pop() if len(units) == 1 else ""
    )


def unchanged_content(entry: Entry) -> bytes | None:
    """The content of the entry's file; None unless it is, byte for byte, what was indexed.

    So nothing that was not indexed is ever read out, whatever stands at that path now: a link, a pipe, another file.
    """
    try:
        if os.path.realpath(entry.path) != os.path.abspath(entry.path):
            return None
        content = read_regular(entry.path, entry.size, follow=False)
    except (OSError, ValueError):
        return None
    return content if hashlib.sha256(content).hexdigest() == entry.sha256 else None


def own_lines(entries: Sequence[Entry], content: bytes) -> list[str]:
    """The lines of a file's content; none where the text of its chunks is not its lines, as in a PDF or a notebook."""
    if entries[0].language in MARKUP:
        return []
    try:
        lines = split_lines(decode(content)[0])
    except DataError:
        return []
    if not all(_stands_in(one, lines) for one in entries):
        return []
    return lines if lines[-1] else lines[:-1]  # nothing follows the last line end


def _stands_in(entry: Entry, lines: Sequence[str]) -> bool:
    """Whether the text of a chunk is its lines; its first and its last line may be pieces of long ones."""
    if entry.first_line is None or entry.last_line is None:
        return False
    there = lines[entry.first_line - 1 : entry.last_line]
    text = entry.snippet.split("\n")
    if len(there) == 1:
        return all(one.strip() in there[0] for one in text)
    there, text = _not_blank(there), _not_blank(text)
    ends = zip(text[:1] + text[-1:], there[:1] + there[-1:], strict=False)
    return len(text) == len(there) and text[1:-1] == there[1:-1] and all(one in line for one, line in ends)


def _not_blank(lines: Sequence[str]) -> list[str]:
    return [line.strip() for line in lines if line.strip()]


def _overlaps(entry: Entry, first: int, last: int) -> bool:
    return (entry.first_line or 1) <= last and first <= (entry.last_line or 1)
