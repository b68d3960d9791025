"""What the index stores of a chunk beside its vector, the chunk's id, and the state of a file by its chunks."""

import re
import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, TypeAlias

from unbraid.errors import ItemError, StoreError
from unbraid.index.files.chunk import in_context
from unbraid.index.files.language import PICTURE
from unbraid.items import Modality

Value: TypeAlias = str | int | list[str]
# Of a file, by name: what a user gives it, and what its front matter says.
Fields: TypeAlias = Mapping[str, Value]

# Any fixed value: ids must not change between runs.
_NAMESPACE = uuid.UUID("5d1c6c0e-3c55-5b0e-9f4e-0a6f6c1c2f11")


@dataclass(frozen=True)
class Entry:
    """One chunk of one file, the payload of a point; lines (pages of a PDF) from 1, None for a picture.

    `modality` is that of the encoder: a picture has one chunk "image" and, where it holds words, more of "text".
    """

    path: str  # absolute, with forward slashes
    modality: Modality
    first_line: int | None
    last_line: int | None
    snippet: str
    sha256: str  # of the whole file
    size: int  # of the file, with mtime_ns the quick sign that it has not changed
    mtime_ns: int
    chunk: int  # this chunk's place among the file's `chunks`
    chunks: int
    language: str = ""  # of the file, one of language.LANGUAGES; none of a picture
    fields: Fields = field(default_factory=dict)
    context: str = ""  # the headings or definitions around it, as the encoder read them before the snippet
    tier: str = ""  # that encoded it; none of a picture, nor in indexes from before there was a choice
    text_language: str = ""  # that it is written in, where that was looked for and is not English
    # Where each line of `snippet` stands in a picture or a scanned page (read_words.write_boxes).
    boxes: str = ""
    # What was done with the pictures of its file, in these words: "scans" (it is a PDF with pages without text, which
    # are pictures), "pages" (each page of a PDF is one), "words" (those in its pictures were read, if there are any).
    seen: str = ""
    own_fields: str = ""  # names, with spaces between them, of those of `fields` that its front matter gives
    unit: str = (
        ""  # what first_line counts where it is no line, nor page of a PDF: "slide", "sheet Sales, row"
    )

    @property
    def text(self) -> str:
        """What the encoder read, and what BM25 counts words in; empty for a picture."""
        return in_context(self.context, self.snippet)

    @property
    def of_picture(self) -> bool:
        """Whether it is a picture, a page as a picture, or words in a picture; text of a scanned page is text."""
        return self.modality == "image" or self.language == PICTURE


# Left out of a payload where empty, so that items of older indexes are the same as they were.
ADDED = ("tier", "text_language", "own_fields", "boxes", "seen", "unit")
# What a store counts items by, beside their path.
KEYWORDS = ("modality", "language", "tier", "text_language")
WHOLE_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,17}")


def stored_values(fields: Fields, numbers: Collection[str] = ()) -> dict[str, Any]:
    """`fields` as a payload holds them: words, so that 1, 1.1 and 2024-05-01 may be values of one field.

    `numbers` are names of fields that an index of an earlier version keeps as whole numbers. Raises ItemError for a
    value that is no word, number or list of words.
    """
    return {name: value if name in numbers else _stored(name, value) for name, value in fields.items()}


def _stored(name: str, value: object) -> str | list[str]:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float | date):
        return str(value)
    if isinstance(value, list | tuple):
        return [str(_stored(name, one)) for one in value]
    raise ItemError(f"the field {name} is {value!r}: expected a word, a number, a date or a list of words")


def read_values(stored: Mapping[str, Any]) -> dict[str, Value]:
    """Fields of what `stored_values` gave; a word that is a whole number is one."""
    return {
        name: int(value) if isinstance(value, str) and WHOLE_NUMBER.fullmatch(value) else value
        for name, value in stored.items()
    }


def new_fields(fields: Iterable[Fields], known: Collection[str], numbers: Collection[str]) -> list[str]:
    """Those names of `fields` that have no index over their values yet.

    `known` are those that have one, `numbers` those of them that hold whole numbers, as earlier versions kept them.
    Raises StoreError where such a field is given another value.
    """
    found: dict[str, None] = {}
    for some in fields:
        for name, value in some.items():
            if name in numbers and not isinstance(value, int):
                raise StoreError(
                    f"the field {name} holds whole numbers in this index, as an earlier version kept them, and {value!r} "
                    "is none; index again into another folder, where a field may hold anything: unbraid index PATH... "
                    "--into FOLDER"
                )
            if name not in known:
                found[name] = None
    return list(found)


def point_id(path: str, sha256: str, chunk: int) -> uuid.UUID:
    """Id of a chunk. The same content at the same path has the same id; new content is stored beside the old."""
    return uuid.uuid5(_NAMESPACE, f"{path}\0{sha256}\0{chunk}")


# Of a chunk, what `file_states` reads.
PAYLOAD = ["path", "sha256", "size", "mtime_ns", "chunks", "fields", "own_fields", "seen"]


@dataclass(slots=True)
class FileState:
    """What the index holds of one file; `points` of `expected` chunks of content `sha256` are in."""

    sha256: str
    size: int
    mtime_ns: int
    expected: int
    fields: Fields
    own_fields: str = ""
    seen: str = ""  # as in an Entry
    points: int = 0
    versions: int = 1

    @property
    def given(self) -> Fields:
        """The fields that a user gave."""
        own = self.own_fields.split()
        return {name: value for name, value in self.fields.items() if name not in own}

    @property
    def complete(self) -> bool:
        """False when a run was cut off within this file, so that it must be indexed again."""
        return self.versions == 1 and self.points == self.expected


def file_states(payloads: Iterable[Mapping[str, Any]]) -> dict[str, FileState]:
    """The state of each file, by path, from the payload of every chunk."""
    states: dict[str, FileState] = {}
    for payload in payloads:
        path = payload["path"]
        if path not in states:
            size, mtime_ns, chunks = payload["size"], payload["mtime_ns"], payload["chunks"]
            fields = read_values(payload["fields"])
            own, seen = (payload.get(name, "") for name in ("own_fields", "seen"))  # left out where empty
            states[path] = FileState(payload["sha256"], size, mtime_ns, chunks, fields, own, seen)
        state = states[path]
        if payload["sha256"] == state.sha256:
            state.points += 1
        else:
            state.versions = 2
    return states
