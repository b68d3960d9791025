"""The second pass of `add`: read the words in pictures and in pages without text, and store them beside the pictures.

A picture can be searched by what it shows since the first pass. Its words become text chunks of the same file, written
with a mark on all its chunks that they were read, also where there are none. So a run that is cut off goes on where it
was. The same content is read once, whatever its paths; a moved or copied file is stored again with all its chunks.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from unbraid.errors import DataError
from unbraid.index.encode_rows import Row, encode_rows
from unbraid.index.files.chunk import Limit, limit_of
from unbraid.index.files.language import PICTURE, language
from unbraid.index.files.read_pdf import PDF_SUFFIXES, Pdf, can_read_pdf
from unbraid.index.files.read_words import Line, WordReader, cut_lines, write_boxes
from unbraid.index.files.walk import Skipped
from unbraid.index.protocol import Model
from unbraid.index.store.entry import Entry, FileState
from unbraid.index.store.store import Store
from unbraid.items import suffix_modality

PAGE_SIDE = 2000  # pixels of a page's longer side: a sheet of A4 at 170 dots an inch
# A write ends with a sync of the disk, so pictures wait for each other so long.
WRITE_SECONDS, WRITE_FILES = 2.0, 500
Pages: TypeAlias = dict[int | None, list[Line]]  # by page from 1; None for a picture


@dataclass
class WordsRead:
    """What the second pass did, in files."""

    files: int = 0  # looked at, with words or without
    with_words: int = 0
    chunks: int = 0
    skipped: list[Skipped] = field(default_factory=list)  # pictures that could not be read, with the reason
    fault: str | None = None  # why nothing could be read: the models are damaged


def unread(states: Mapping[str, FileState], paths: Sequence[str]) -> list[str]:
    """Those of `paths` that hold a picture whose words were not looked for."""
    return [
        path
        for path in paths
        if (state := states.get(path)) is not None
        and state.complete
        and "words" not in state.seen.split()
        and (suffix_modality(path) == "image" or ("scans" in state.seen.split() and can_read_pdf()))
    ]


def add_words(
    store: Store, model: Model, todo: Sequence[str], reader: WordReader, done: Callable[[int], None]
) -> WordsRead:
    """Read the words in the files `todo` of `store`; calls `done` with the number of files that are on the disk."""
    result = WordsRead()
    if fault := reader.fault():
        result.fault = fault
        return result
    states = store.files()
    alike: dict[str, list[str]] = {}
    for path in todo:
        alike.setdefault(states[path].sha256, []).append(path)
    held: list[tuple[list[str], Pages]] = []
    written = time.monotonic()
    for sha256, paths in alike.items():
        try:
            pages = _read(paths, sha256, reader, result.skipped)
        except DataError as error:  # it would fail again, so it counts as looked at
            result.skipped.append(Skipped(Path(paths[0]), str(error)))
            pages = {}
        if pages is None:  # gone or changed since: the next run reads it
            continue
        held.append((paths, pages))
        if time.monotonic() - written > WRITE_SECONDS or len(held) == WRITE_FILES:
            _write(store, model, held, result, done)
            held, written = [], time.monotonic()
    _write(store, model, held, result, done)
    return result


def _read(paths: Sequence[str], sha256: str, reader: WordReader, skipped: list[Skipped]) -> Pages | None:
    """The lines of the first of `paths` that still has this content, by page; None when none has."""
    for path in paths:
        try:
            content = Path(path).read_bytes()
        except OSError:
            continue
        if hashlib.sha256(content).hexdigest() != sha256:
            continue
        if Path(path).suffix.lower() not in PDF_SUFFIXES:
            return reader.read(content, _tell(Path(path), skipped))
        with Pdf(content) as pdf:
            return dict(_read_pages(Path(path), pdf, reader, skipped))
    return None


def _tell(path: Path, skipped: list[Skipped]) -> Callable[[str], None]:
    return lambda reason: skipped.append(Skipped(path, reason))


def _read_pages(
    path: Path, pdf: Pdf, reader: WordReader, skipped: list[Skipped]
) -> Iterator[tuple[int, list[Line]]]:
    """The pages of a PDF that have no text, with their lines; one that cannot be read is left out."""
    for page in pdf.without_text:
        try:
            (lines,) = reader.read(pdf.draw(page, PAGE_SIDE, "BMP"), _tell(path, skipped)).values()
            yield page, lines
        except DataError as error:
            skipped.append(Skipped(path, f"page {page}: {error}"))


def _write(
    store: Store,
    model: Model,
    held: Sequence[tuple[Sequence[str], Pages]],
    result: WordsRead,
    done: Callable[[int], None],
) -> None:
    """Store what was read in some files: the chunks they have, marked, and their words."""
    limit = limit_of(model)
    rows: list[Row] = []
    entries: list[Entry] = []
    parts = []
    for paths, pages in held:
        for path in paths:
            known, vectors = store.file(path)
            words = list(_rows(known[0], len(known), pages, limit)) if known else []
            rows += words
            seen = " ".join([*known[0].seen.split(), "words"]) if known else ""
            entries += [replace(one, chunks=len(known) + len(words), seen=seen) for one in known]
            parts.append(vectors)
            result.with_words += bool(words)
    if rows:
        more, vectors = encode_rows(model, rows)
        entries += more
        parts.append(vectors)
    if entries:
        store.upsert(entries, np.concatenate(parts))
    count = sum(len(paths) for paths, _ in held)
    result.files += count
    result.chunks += len(rows)
    done(count)


def _rows(file: Entry, first: int, pages: Pages, limit: Limit) -> Iterator[Row]:
    """The words of a file as text chunks, from number `first` on; `file` is any chunk of it."""
    is_picture = suffix_modality(file.path) == "image"
    chunks = [(page, part) for page, lines in pages.items() for part in cut_lines(lines, limit)]
    for number, (page, part) in enumerate(chunks, start=first):
        snippet = "\n".join(line.text for line in part)
        yield (
            snippet,
            replace(
                file,
                modality="text",
                first_line=page,
                last_line=page,
                snippet=snippet,
                context="",
                chunk=number,
                chunks=first + len(chunks),
                language=PICTURE if is_picture else language(Path(file.path).suffix),
                boxes=write_boxes(part),
                seen=" ".join([*file.seen.split(), "words"]),
            ),
        )
