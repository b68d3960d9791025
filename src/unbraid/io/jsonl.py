"""Lines of JSON and of plain text, each with its file and line number for error messages."""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from unbraid.errors import DataError


def wrong(path: Path, number: int, found: str, expected: str) -> DataError:
    """The error to raise for line `number` of `path`."""
    return DataError(f"{path}, line {number}: found {found}, expected {expected}")


class Line(NamedTuple):
    """One JSON object of a file, on line `number` (from 1)."""

    path: Path
    number: int
    row: dict[str, Any]  # Any: whatever the JSON held

    def wrong(self, found: str, expected: str) -> DataError:
        """The error to raise for this line."""
        return wrong(self.path, self.number, found, expected)

    def text(self, name: str, default: str | None = None) -> str:
        """The string in field `name`; `default` for one that is absent or null. Raises DataError otherwise."""
        value = self.row.get(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, str) or (not value and default is None):
            found = f"{name} {str(value)[:60]!r}" if name in self.row else f"no field {name}"
            raise self.wrong(found, f"text in the field {name}")
        return value


def read_rows(path: Path) -> Iterator[Line]:
    """The JSON objects of a .jsonl or .jsonl.gz file."""
    for number, text in read_text_lines(path):
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:  # ValueError: also an integer of more than 4,300 digits
            raise wrong(path, number, repr(text[:60]), f"JSON: {error}") from error
        if not isinstance(row, dict):
            raise wrong(path, number, repr(text[:60]), "a JSON object")
        yield Line(path, number, row)


def read_text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Line numbers (from 1) and lines of a UTF-8 file, without blank lines; the first bytes tell whether it is gzip."""
    number = 0
    try:
        if path.exists() and not path.is_file():  # reading a pipe would block
            raise DataError(f"{path}: not a regular file")
        with open(path, "rb") as raw:
            opener = gzip.open if raw.read(2) == b"\x1f\x8b" else open
        with opener(path, "rb") as file:
            for number, line in enumerate(file, 1):
                if text := line.decode("utf-8-sig" if number == 1 else "utf-8").strip("\r\n\t "):
                    yield number, text
    except UnicodeDecodeError as error:
        raise wrong(path, number, f"byte {error.object[error.start]:#04x}", "UTF-8") from error
    except (OSError, EOFError, zlib.error) as error:
        if isinstance(error, OSError) and error.strerror:  # the system's reason, such as a missing file
            raise DataError(f"{path}: cannot be read: {error.strerror}") from error
        raise DataError(f"{path}, after line {number}: cannot be read: {error}") from error
