"""Office files, books, mail and tar archives, most with what `unbraid[documents]` installs; documents/process.py reads them."""

import atexit
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, TypeAlias

from unbraid.errors import DataError, install_command
from unbraid.index.files.chunk import Lines, Section
from unbraid.io.child import Child

# Suffix -> the package that reads it, "" where Python does.
_NEEDED = {
    **dict.fromkeys(
        ".docx .docm .pptx .pptm .xlsx .xlsm .odt .odp .ods .epub".split(),
        "defusedxml",
    ),
    ".rtf": "striprtf",
    ".msg": "olefile",
    ".eml": "",
    ".mbox": "",
}
# Formats that nothing here reads, and why: what `walk` says of a file that is no text.
UNREAD = {
    ".doc": "Word before 2007: save it as docx",
    ".ppt": "PowerPoint before 2007: save it as pptx",
    ".xls": "Excel before 2007: save it as xlsx",
    ".xlsb": "binary Excel: save it as xlsx",
    ".pst": "an Outlook archive: export its messages",
}
DOCUMENT_SUFFIXES = frozenset(_NEEDED)
MAX_BYTES = 50 * 1024**2
MAX_SECONDS = 60.0
_PROGRAM = Path(__file__).with_name("documents") / "process.py"


@dataclass(frozen=True)
class Part:
    """A part of a document; `unit` says what the numbers of its lines count: "slide", "sheet Sales, row"."""

    unit: str
    lines: Lines
    sections: list[Section]


# A file within another one: its name, and its content or the reason why it is not read.
Member: TypeAlias = tuple[str, bytes | str]


@dataclass(frozen=True)
class Document:
    """What a document holds: its text, and the files in it one after the other, which can be asked for once."""

    parts: list[Part]
    members: Iterator[Member]


@cache
def not_read(suffix: str) -> str:
    """Why documents with this suffix are not read here; empty where they are, and for every other suffix."""
    needed = _NEEDED.get(suffix)
    if needed and importlib.util.find_spec(needed) is None:
        return f"{suffix[1:]}, read with: {install_command('documents')}"
    return ""


def read_document(data: bytes, suffix: str) -> Document:
    """The parts of a document, and the files in it: at least one line, or one file.

    Raises DataError, whose message is the reason, for one that is broken, encrypted, empty or a bomb, or takes over
    MAX_SECONDS of the processor.
    """
    name = suffix[1:]
    with _lock:
        try:
            about, contents = _child().ask({"suffix": suffix}, data, seconds=MAX_SECONDS)
        except TimeoutError:
            raise DataError(f"{name} that takes over {MAX_SECONDS:.0f} seconds") from None
        except EOFError:  # of memory for one
            raise DataError(f"{name} that ended its reader") from None
    if "reason" in about:
        raise DataError(about["reason"])
    parts = [
        Part(part["unit"], Lines(part["lines"], part["numbers"]), list(_sections(part)))
        for part in about["parts"]
    ]
    return Document(parts, _members(about["attached"], contents))


def _members(attached: list[tuple[str, int | str]], contents: bytes) -> Iterator[Member]:
    place = 0
    for name, about in attached:
        if isinstance(about, str):
            yield name, about
        else:
            yield name, contents[place : place + about]
            place += about


def _sections(part: dict[str, Any]) -> Iterator[Section]:
    for one in part["sections"]:
        yield Section(one["first"], one["end"], tuple(one["context"]), one["name"], None, one["alone"])


# One program reads all documents, one after the other: it takes as long to start as ten documents to read.
_lock = Lock()


@cache
def _child() -> Child:
    atexit.register(close_reader)
    return Child(_PROGRAM)


def close_reader() -> None:
    """End the program that reads documents; the next document starts it again."""
    _child().close()
