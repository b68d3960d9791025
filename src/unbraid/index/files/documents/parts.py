"""What a reader of documents gives: parts with lines, each line with the number of the slide, row or page it stands on."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from unbraid.index.files.chunk import Lines, Section, from_headings
from unbraid.io.surrogates import replace_lone_surrogates

MAX_CHARACTERS = 8 * 1024**2
MAX_ATTACHED, MAX_ATTACHED_BYTES = 20_000, 256 * 1024**2
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # how Outlook's messages and Office files from before 2007 begin


class Refused(Exception):
    """A document that is not read; the message is the reason."""


class Document:
    """The parts of a document under way."""

    def __init__(self) -> None:
        """No parts yet."""
        self.parts: list[Part] = []
        self._characters = 0
        self._attached: list[tuple[str, bytes | str]] = []
        self._attached_bytes = 0

    def part(self, unit: str) -> "Part":
        """A new part, whose numbers count `unit`: "slide", "sheet Sales, row"."""
        self.parts.append(Part(self, " ".join(unit.split())[:200]))
        return self.parts[-1]

    def count(self, characters: int) -> None:
        """Add to what was read. Raises Refused for more than anyone wrote."""
        self._characters += characters
        if self._characters > MAX_CHARACTERS:
            raise Refused(f"over {MAX_CHARACTERS:,} characters")

    def attach(self, name: str, content: bytes | str) -> None:
        """Add a file that is in the document, or the reason why it is not read."""
        if not isinstance(content, str):
            self._attached_bytes += len(content)
            if self._attached_bytes > MAX_ATTACHED_BYTES:
                content = f"over {MAX_ATTACHED_BYTES // 1_000_000} MB in those before it"
            elif len(self._attached) >= MAX_ATTACHED:
                content = f"over {MAX_ATTACHED:,} files before it"
        self._attached.append((name, content))

    def written(self) -> list[dict[str, Any]]:
        """The parts with lines, as JSON holds them."""
        return [part.written() for part in self.parts if part.lines]

    def attached(self) -> tuple[list[tuple[str, int | str]], bytes]:
        """(name, size or the reason why it is not read) of each attached file, and the contents in one."""
        contents = [content for _, content in self._attached if isinstance(content, bytes)]
        about = [(name, one if isinstance(one, str) else len(one)) for name, one in self._attached]
        return about, b"".join(contents)


class Part:
    """Lines as they come; their numbers never fall."""

    def __init__(self, document: Document, unit: str) -> None:
        """Use Document.part."""
        self.unit = unit
        self.outer = ""  # the title above all headings, which is not in the lines
        self.lines: list[str] = []
        self.numbers: list[int] = []
        self.headings: list[tuple[int, int, str]] = []  # line from 0, level, title
        self.sections: list[Section] | None = None  # by heading where None
        self._document = document

    def add(self, text: str, number: int | None, *, level: int | None = None, apart: bool = True) -> None:
        """Add a paragraph, a heading where `level` says so; `apart` is one behind a blank line. Blank text adds nothing.

        Without a `number` each line has that of its place in the part.
        """
        lines = [
            " ".join(line.split()) for line in replace_lone_surrogates(text).replace("\0", " ").split("\n")
        ]
        lines = [line for line in lines if line]
        if not lines:
            return
        self._document.count(sum(map(len, lines)))
        if self.lines and (apart or level is not None):
            self.lines.append("")
            self.numbers.append(len(self.lines) if number is None else self.numbers[-1])
        if level is not None:
            self.headings.append((len(self.lines), level, " ".join(lines)))
        place = len(self.lines) + 1
        self.lines += lines
        self.numbers += range(place, place + len(lines)) if number is None else [number] * len(lines)

    def untitled(self) -> None:
        """What comes next is under no heading before it."""
        if self.lines:
            self.headings.append((len(self.lines), 1, ""))

    def take(self, lines: Lines, sections: Iterable[Section]) -> None:
        """Have these lines and sections and no others."""
        self._document.count(sum(map(len, lines.lines)))
        self.lines, self.numbers, self.sections = lines.lines, lines.numbers, list(sections)

    def written(self) -> dict[str, Any]:
        """The part as JSON holds it; read_document.py reads it."""
        outer = [(-1, self.outer)] if self.outer else []
        sections = self.sections
        if sections is None:
            sections = from_headings(self.headings, len(self.lines), outer)
        return {
            "unit": self.unit,
            "lines": self.lines,
            "numbers": self.numbers,
            "sections": [asdict(section) for section in sections],
        }
