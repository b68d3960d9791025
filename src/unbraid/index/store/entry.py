"""What the index stores of a chunk beside its vector, the chunk's id, and the state of a file by its chunks."""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from unbraid.errors import StoreError
from unbraid.index.files.chunk import in_context
from unbraid.index.files.language import PICTURE
from unbraid.items import Modality

Fields: TypeAlias = Mapping[str, str | int]  # fields that a user gives a file, by name

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
    boxes: str = (
        ""  # where each line of `snippet` stands in a picture or a scanned page (read_words.write_boxes)
    )
    # What was done with the pictures of its file, in these words: "scans" (it is a PDF with pages without text, which
    # are pictures), "pages" (each page of a PDF is one), "words" (those in its pictures were read, if there are any).
    seen: str = ""

    @property
    def text(self) -> str:
        """What the encoder read, and what BM25 counts words in; empty for a picture."""
        return in_context(self.context, self.snippet)

    @property
    def of_picture(self) -> bool:
        """Whether it is a picture, a page as a picture, or words in a picture; text of a scanned page is text."""
        return self.modality == "image" or self.language == PICTURE


# Left out of a payload where empty, so that items of older indexes are the same as they were.
ADDED = ("tier", "text_language", "boxes", "seen")
KEYWORDS = (
    "modality",
    "language",
    "tier",
    "text_language",
)  # what a store counts items by, beside their path


def new_fields(known: Mapping[str, type | None], fields: Fields) -> dict[str, type]:
    """Payload keys of those `fields` that have no index over their values yet, and the type of value each will have.

    `known` has the type by key of those that have one. An empty value, which removes a field, needs none. Raises
    StoreError for a value of another type than its index has.
    """
    found: dict[str, type] = {}
    for name, value in fields.items():
        key, kind = f"fields.{name}", type(value)
        if value == "":
            continue
        if key not in known:
            found[key] = kind
        elif known[key] is not kind:
            held = "words" if kind is int else "whole numbers"
            raise StoreError(f"the field {name} holds {held} in this index, {value!r} is of another kind")
    return found


def point_id(path: str, sha256: str, chunk: int) -> uuid.UUID:
    """Id of a chunk. The same content at the same path has the same id; new content is stored beside the old."""
    return uuid.uuid5(_NAMESPACE, f"{path}\0{sha256}\0{chunk}")


# Of a chunk, what `file_states` reads.
PAYLOAD = ["path", "sha256", "size", "mtime_ns", "chunks", "fields", "seen"]


@dataclass
class FileState:
    """What the index holds of one file; `points` of `expected` chunks of content `sha256` are in."""

    sha256: str
    size: int
    mtime_ns: int
    expected: int
    fields: Fields
    seen: str = ""  # as in an Entry
    points: int = 0
    versions: int = 1

    @property
    def complete(self) -> bool:
        """False when a run was cut off within this file, so that it must be indexed again."""
        return self.versions == 1 and self.points == self.expected


def file_states(payloads: Iterable[Mapping[str, Any]]) -> dict[str, FileState]:
    """The state of each file, by path, from the payload of every chunk."""
    states: dict[str, FileState] = {}
    for payload in payloads:
        known = (payload.get(name, "") for name in PAYLOAD[1:])  # "seen" is left out where it is empty
        state = states.setdefault(payload["path"], FileState(*known))
        if payload["sha256"] == state.sha256:
            state.points += 1
        else:
            state.versions = 2
    return states
