"""OpenDocument (.odt, .odp, .ods): paragraphs by heading, slides, and the rows of sheets."""

from collections.abc import Mapping

from unbraid.index.files.documents.parts import MAX_CHARACTERS, Document, Refused
from unbraid.index.files.documents.sheets import MAX_COLUMNS, Row, add_sheet
from unbraid.index.files.documents.xml_events import elements, parse
from unbraid.index.files.documents.zipped import Zipped

_UNSEEN = frozenset({"tracked-changes", "note-citation", "forms"})
_MAX_REPEATED = 1000  # columns that one cell fills; beyond, empty ones up to the edge of the sheet
_MAX_CELLS = 5_000_000


def read_opendocument(data: bytes, document: Document, *, kind: str) -> None:
    """A text, a presentation or a spreadsheet, as `kind` says.

    Numbers of a text are pages where its program has noted them, else paragraphs; of others slides, and rows of a sheet.
    Raises Refused.
    """
    archive = Zipped(data)
    if "content.xml" not in archive or not _is(kind, archive):
        raise Refused(f"not an OpenDocument {kind} inside")
    if "META-INF/manifest.xml" in archive:
        with archive.open("META-INF/manifest.xml") as stream:
            if elements(stream, "encryption-data"):
                raise Refused("password-protected")
    if kind == "spreadsheet":
        sheets = _Sheets(document)
        with archive.open("content.xml") as stream:
            parse(stream, sheets)
        return
    text = _Text(document, slides=kind == "presentation")
    with archive.open("content.xml") as stream:
        parse(stream, text)
    if text.page > 1 and kind == "text":
        text.part.unit, text.part.numbers = "page", text.pages


def _is(kind: str, archive: Zipped) -> bool:
    """Whether the file says that it is of this kind, or does not say what it is."""
    said = archive.read("mimetype")[:100].decode("latin-1") if "mimetype" in archive else ""
    return not said or kind in said


class _Paragraphs:
    """The pieces of the paragraphs under way; a note stands within another."""

    def __init__(self) -> None:
        self.pieces: list[list[str]] = []
        self.unseen = 0

    def start(self, name: str, attributes: Mapping[str, str]) -> bool:
        """Whether the tag is dealt with."""
        if name in _UNSEEN:
            self.unseen += 1
        elif name in ("p", "h"):
            self.pieces.append([])
        elif name in ("s", "tab", "line-break") and self.pieces:
            self.pieces[-1].append(" " if name == "s" else "\t" if name == "tab" else "\n")
        else:
            return False
        return True

    def data(self, text: str) -> None:
        if self.pieces and not self.unseen:
            self.pieces[-1].append(text.replace("\n", " "))

    def end(self, name: str) -> str:
        """The text of the paragraph that ends here."""
        if name in _UNSEEN:
            self.unseen = max(0, self.unseen - 1)
        return "".join(self.pieces.pop()) if name in ("p", "h") and self.pieces else ""


class _Text:
    """A text or a presentation as it comes."""

    def __init__(self, document: Document, *, slides: bool) -> None:
        self.part = document.part("slide" if slides else "paragraph")
        self.page, self.pages = 1, list[int]()  # the page, and that of each line
        self._slides = slides
        self._paragraphs = _Paragraphs()
        self._levels: list[int | None] = []
        self._rows: list[list[str]] = []
        self._number = self._lists = 0
        self._title: list[str] | None = None  # of the slide, while its frame is open

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if name in ("p", "h"):
            level = attributes.get("outline-level", "1")
            self._levels.append((int(level[:2]) if level[:2].isdecimal() else 1) if name == "h" else None)
        if self._paragraphs.start(name, attributes):
            return
        if name == "list":
            self._lists += 1
        elif name == "table-row":
            self._rows.append([])
        elif name == "table-cell" and self._rows:
            self._rows[-1].append("")
        elif name == "soft-page-break":
            self.page += 1
        elif self._slides and name == "page":
            self._number += 1
            self.part.untitled()
        elif self._slides and name == "frame" and attributes.get("class") == "title":
            self._title = []

    def data(self, text: str) -> None:
        self._paragraphs.data(text)

    def end(self, name: str) -> None:
        text = self._paragraphs.end(name)
        if name in ("p", "h") and self._levels:
            level = self._levels.pop()
            if self._rows and self._rows[-1]:
                self._rows[-1][-1] = f"{self._rows[-1][-1]} {' '.join(text.split())}".strip()
            elif self._title is not None:
                self._title.append(text)
            else:
                self._add(text, None if self._slides else level, apart=not self._lists)
        elif name == "frame" and self._title is not None:
            title, self._title = " ".join(self._title), None
            self._add(title, 1, apart=True)
        elif name == "list":
            self._lists = max(0, self._lists - 1)
        elif name == "table-row" and self._rows:
            row = self._rows.pop()
            text = " | ".join(row) if any(row) else ""
            if self._rows and self._rows[-1]:
                self._rows[-1][-1] = f"{self._rows[-1][-1]} {text}".strip()
            else:
                self._add(text, None, apart=False)

    def _add(self, text: str, level: int | None, *, apart: bool) -> None:
        if text.strip():
            self._number += not self._slides
            self.part.add(text, max(1, self._number), level=level, apart=apart)
            self.pages += [self.page] * (len(self.part.lines) - len(self.pages))


class _Sheets:
    """The sheets of a workbook as they come."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._paragraphs = _Paragraphs()
        self._name = ""
        self._rows: list[Row] = []
        self._row: list[str] | None = None
        self._cell: list[str] = []
        self._number = self._repeated = self._repeated_row = 0
        self._cells = self._characters = 0

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if name == "annotation":
            self._paragraphs.unseen += 1
        elif self._paragraphs.start(name, attributes):
            return
        elif name == "table":
            self._name, self._rows, self._number = attributes.get("name", ""), [], 0
        elif name == "table-row":
            self._row = []
            self._repeated_row = _count(attributes.get("number-rows-repeated", "1"))
        elif name in ("table-cell", "covered-table-cell"):
            self._cell = []
            self._repeated = _count(attributes.get("number-columns-repeated", "1"))

    def data(self, text: str) -> None:
        self._paragraphs.data(text)

    def end(self, name: str) -> None:
        if name == "annotation":
            self._paragraphs.unseen = max(0, self._paragraphs.unseen - 1)
            return
        text = self._paragraphs.end(name)
        if name in ("p", "h"):
            self._cell.append(text)
        elif name in ("table-cell", "covered-table-cell") and self._row is not None:
            shown = " ".join(" ".join(self._cell).split())
            if len(self._row) < MAX_COLUMNS:
                self._row += [shown] * min(self._repeated, _MAX_REPEATED)
                self._characters += len(shown) * min(self._repeated, _MAX_REPEATED)
        elif name == "table-row" and self._row is not None:
            row, self._row = self._row, None
            while row and not row[-1]:
                row.pop()
            self._cells += len(row)
            if self._cells > _MAX_CELLS or self._characters > MAX_CHARACTERS:
                raise Refused(f"over {MAX_CHARACTERS:,} characters or {_MAX_CELLS:,} cells")
            if row:  # the same row again and again says nothing more
                self._rows.append((self._number + 1, row))
            self._number += self._repeated_row
        elif name == "table":
            if self._rows:
                add_sheet(self._document, self._name, self._rows)
            self._rows = []


def _count(number: str) -> int:
    return max(1, int(number[:9])) if number[:9].isdecimal() else 1
