"""Adjacent chunks of one file as one result, so that a passage is shown once and whole."""

import itertools
from collections.abc import Sequence

from unbraid.index.files.read_words import Box, read_boxes
from unbraid.index.store.entry import Entry

# Most chunks in one result. Without a limit, a file that is alone in an index would be one single result.
MERGED = 3


def merge_adjacent(entries: Sequence[Entry], k: int) -> list[list[int]]:
    """The `k` best results from `entries`, best first: each the positions of its chunks, the best one first.

    Down the ranking, a chunk joins the best result of its file that it follows, precedes or shares a line or page with,
    if that has fewer than MERGED chunks; otherwise it is a result of its own. A picture and all words in it are one
    result. Returns fewer than `k` only where `entries` ends. Code and text, versions
    of a file and parts of a document, as two sheets are, are never joined.
    """
    results: list[list[int]] = []
    by_file: dict[tuple[str, str, bool, str], list[list[int]]] = {}
    for position, entry in enumerate(entries):
        same_file = by_file.setdefault((entry.path, entry.sha256, entry.modality == "code", entry.unit), [])
        near = [result for result in same_file if any(_touch(entry, entries[other]) for other in result)]
        home = next((result for result in near if len(result) < MERGED or entry.of_picture), None)
        if home is not None:
            home.append(position)
            for result in near:  # the chunk may close the gap between two
                if result is not home and len(home) + len(result) <= MERGED:
                    home.extend(result)
                    same_file[:] = [other for other in same_file if other is not result]
                    results = [other for other in results if other is not result]
        elif len(results) < k:
            same_file.append([position])
            results.append(same_file[-1])
        else:
            break
    return results


def join_chunks(chunks: Sequence[Entry]) -> tuple[int | None, int | None, str]:
    """First line, last line and snippet of the chunks of one result, in the order of the file."""
    chunks = sorted(chunks, key=lambda entry: entry.chunk)
    if any(entry.of_picture or entry.boxes for entry in chunks):  # a line for each box (join_boxes)
        page = next((entry.first_line for entry in chunks if entry.first_line is not None), None)
        return page, page, "\n".join(entry.snippet for entry in chunks if entry.snippet)
    snippet = chunks[0].snippet
    for before, after in itertools.pairwise(chunks):
        if after.chunk - before.chunk > 1:
            snippet += "\n…\n"
        else:  # what lies between two chunks is blank, or in formats with markup not shown
            snippet += "\n\n" if (after.first_line or 0) - (before.last_line or 0) > 1 else "\n"
        snippet += after.snippet
    return chunks[0].first_line, chunks[-1].last_line, snippet


def join_boxes(chunks: Sequence[Entry]) -> list[Box]:
    """The box of each line of the snippet of `join_chunks`, where all of them were read in a picture; else none."""
    words = [entry for entry in sorted(chunks, key=lambda entry: entry.chunk) if entry.snippet]
    if not all(entry.boxes for entry in words):
        return []
    return [box for entry in words for box in read_boxes(entry.boxes)]


def shared_context(chunks: Sequence[Entry]) -> str:
    """The headings or definitions around all of the chunks of one result, outermost first."""
    names = [entry.context.split(" > ") for entry in chunks]
    shared = itertools.takewhile(lambda level: len(set(level)) == 1, zip(*names, strict=False))
    return " > ".join(level[0] for level in shared)


def _touch(a: Entry, b: Entry) -> bool:
    """Whether two chunks of a file follow each other or share a line: a long one, or a page of a PDF.

    A picture and the words in it share their page, which is None or 1 for the first; text of a scanned page stays there.
    """
    if a.of_picture or b.of_picture or a.boxes or b.boxes:
        return (a.first_line or 1) <= (b.last_line or 1) and (b.first_line or 1) <= (a.last_line or 1)
    if abs(a.chunk - b.chunk) == 1:
        return True
    if None in (a.first_line, a.last_line, b.first_line, b.last_line):
        return False
    return bool(a.first_line <= b.last_line and b.first_line <= a.last_line)  # type: ignore[operator]
