"""Excel (.xlsx): the rows of each sheet with the names of their columns."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from unbraid.index.files.chunk import Lines, Section
from unbraid.index.files.documents.parts import MAX_CHARACTERS, Document, Refused
from unbraid.index.files.documents.xml_events import elements, main_part, parse, relations
from unbraid.index.files.documents.zipped import Zipped
from unbraid.index.files.read_table import is_header, named_rows

# Formats of numbers that are dates or times, by their id (ECMA-376, 18.8.30), and what a format of one's own has.
_DATES = frozenset([*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)])
_NO_DATE = re.compile(r'"[^"]*"|\[[^\]]*\]|\\.|_.|General', re.IGNORECASE)
_REFERENCE = re.compile(r"([A-Z]{1,3})(\d{1,7})")
MAX_COLUMNS = 16_384
_MAX_CELLS = 5_000_000  # empty ones before the last of a row among them
_LEAD = 10  # rows above a table: its title, who made it

Row = tuple[int, list[str]]


def read_sheets(data: bytes, document: Document) -> None:
    """A part for each sheet, whose numbers are rows. Formulas are what they gave last. Raises Refused."""
    archive = Zipped(data)
    main = main_part(archive)
    if main not in archive or not main.endswith(".xml") or "xl" not in main:
        raise Refused("not an xlsx inside")
    parts = relations(archive, main)
    with archive.open(main) as stream:
        about = elements(stream, "sheet", "workbookPr")
    others = {kind: name for kind, name in parts.values()}
    strings = _Strings()
    if others.get("sharedStrings", "") in archive:
        with archive.open(others["sharedStrings"]) as stream:
            parse(stream, strings)
    dates: list[bool] = []
    if others.get("styles", "") in archive:
        with archive.open(others["styles"]) as stream:
            dates = _date_styles(elements(stream, "numFmt", "cellXfs", "xf", "cellStyles"))
    since_1904 = any(one.get("date1904", "") in ("1", "true") for name, one in about if name == "workbookPr")
    for name, sheet in about:
        kind, path = parts.get(sheet.get("id", ""), ("", ""))
        if name == "sheet" and kind == "worksheet" and path in archive:
            cells = _Cells(strings.found, dates, since_1904)
            with archive.open(path) as stream:
                parse(stream, cells)
            add_sheet(document, sheet.get("name", ""), cells.rows)


def add_sheet(document: Document, name: str, rows: Sequence[Row]) -> None:
    """Add a part for a sheet whose `rows`, with a filled cell each, are (number from 1, cells)."""
    lead: list[Row] = []
    table = list(rows)
    while len(table) > 1 and len(lead) < _LEAD and not is_header(table[0][1]):
        lead.append(table.pop(0))
    if len(table) < 2:
        lead, table = list(rows), []
    lines = [", ".join(filter(None, cells)) for _, cells in lead]
    numbers = [number for number, _ in lead]
    sections = [Section(0, len(lines), (name,))] if lines else []
    if table:
        named, inner = named_rows(table)
        sections += [
            Section(one.first + len(lines), one.end + len(lines), (name, *one.context), alone=one.alone)
            for one in inner
        ]
        lines, numbers = lines + named.lines, numbers + named.numbers
    document.part(f"sheet {name}, row").take(Lines(lines, numbers), sections)


def _date_styles(found: Iterable[tuple[str, Mapping[str, str]]]) -> list[bool]:
    """Whether each style of cells shows a date."""
    own: dict[str, str] = {}
    styles: list[bool] = []
    counts = False
    for name, about in found:
        if name == "numFmt":
            own[about.get("numFmtId", "")] = about.get("formatCode", "")
        elif name == "xf" and counts:
            number = about.get("numFmtId", "")
            shown = _NO_DATE.sub("", own.get(number, "")).lower()
            styles.append(
                bool(set("ymdhs") & set(shown))
                if number in own
                else number.isdecimal() and int(number[:5]) in _DATES
            )
        else:
            counts = name == "cellXfs"
    return styles


class _Strings:
    """The strings that the cells of all sheets share."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._pieces: list[str] = []
        self._text = self._spoken = False
        self._characters = 0

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if name == "si":
            self._pieces = []
        elif name == "rPh":  # how a Japanese word is spoken
            self._spoken = True
        elif name == "t":
            self._text = not self._spoken

    def data(self, text: str) -> None:
        if self._text:
            self._pieces.append(text)

    def end(self, name: str) -> None:
        if name == "t":
            self._text = False
        elif name == "rPh":
            self._spoken = False
        elif name == "si":
            self.found.append("".join(self._pieces))
            self._characters += len(self.found[-1])
            if self._characters > 4 * MAX_CHARACTERS:
                raise Refused(f"over {4 * MAX_CHARACTERS:,} characters")


class _Cells:
    """The rows of a sheet that hold something."""

    def __init__(self, strings: Sequence[str], dates: Sequence[bool], since_1904: bool) -> None:
        self.rows: list[Row] = []
        self._strings, self._dates = strings, dates
        self._epoch = datetime(1904, 1, 1) if since_1904 else datetime(1899, 12, 30)
        self._number = self._column = 0
        self._row: dict[int, str] = {}
        self._kind = ""
        self._date = self._value = False
        self._pieces: list[str] = []
        self._characters = self._count = 0

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if name == "row":
            given = attributes.get("r", "")[:7]
            self._number = max(self._number + 1, int(given) if given.isdecimal() else 0)
            self._column, self._row = 0, {}
        elif name == "c":
            found = _REFERENCE.fullmatch(attributes.get("r", ""))
            self._column = _column(found[1]) if found else self._column + 1
            self._kind = attributes.get("t", "n")
            style = attributes.get("s", "")[:7]
            self._date = style.isdecimal() and int(style) < len(self._dates) and self._dates[int(style)]
            self._pieces = []
        elif name in ("v", "t"):
            self._value = True

    def data(self, text: str) -> None:
        if self._value:
            self._pieces.append(text)

    def end(self, name: str) -> None:
        if name in ("v", "t"):
            self._value = False
        elif name == "c":
            text = self._shown("".join(self._pieces))
            self._characters += len(text)
            if text and self._column <= MAX_COLUMNS:
                self._row[self._column] = text
        elif name == "row" and self._row:
            self._count += max(self._row)
            if self._characters > MAX_CHARACTERS or self._count > _MAX_CELLS:
                raise Refused(f"over {MAX_CHARACTERS:,} characters or {_MAX_CELLS:,} cells")
            cells = [""] * max(self._row)
            for column, text in self._row.items():
                cells[column - 1] = text
            self.rows.append((self._number, cells))

    def _shown(self, value: str) -> str:
        """What a person sees of a cell's value, about."""
        value = value.strip()
        if self._kind == "s":
            return (
                self._strings[int(value)] if value.isdecimal() and int(value[:9]) < len(self._strings) else ""
            )
        if self._kind == "b":
            return "true" if value == "1" else "false"
        if self._kind == "e":  # #REF!
            return ""
        if self._kind != "n":
            return value
        try:
            number = float(value)
            if self._date:
                return str(self._epoch + timedelta(days=round(number, 6))).removesuffix(" 00:00:00")
        except (ValueError, OverflowError):
            return value
        return f"{number:.15g}"


def _column(letters: str) -> int:
    """The column, from 1, of A, B, ... AA."""
    number = 0
    for letter in letters:
        number = 26 * number + ord(letter) - 64
    return number
