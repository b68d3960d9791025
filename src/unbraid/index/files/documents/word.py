"""Word (.docx): paragraphs by heading, tables by row, then footnotes and comments."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from unbraid.index.files.documents.parts import Document, Part, Refused
from unbraid.index.files.documents.xml_events import main_part, parse, relations
from unbraid.index.files.documents.zipped import Zipped

_UNSEEN = frozenset("del moveFrom Fallback instrText delText rPrChange pPrChange".split())
_AFTER = {"footnotes": "Footnotes", "endnotes": "Endnotes", "comments": "Comments"}


def read_word(data: bytes, document: Document) -> None:
    """Numbers are pages where Word has noted where they begin, else paragraphs. Raises Refused."""
    archive = Zipped(data)
    main = main_part(archive)
    if main not in archive or not main.endswith(".xml") or "word" not in main:
        raise Refused("not a docx inside")
    others = dict(relations(archive, main).values())
    styles = _Styles()
    if others.get("styles", "") in archive:
        with archive.open(others["styles"]) as stream:
            parse(stream, styles)
    part = document.part("paragraph")
    text = _Text(part, styles.levels(), styles.listed)
    with archive.open(main) as stream:
        parse(stream, text)
    for kind, title in _AFTER.items():
        if others.get(kind, "") in archive:
            before = len(part.lines)
            text.heading = title
            with archive.open(others[kind]) as stream:
                parse(stream, text)
            if len(part.lines) == before:
                text.heading = ""
    if text.page > 1:
        part.unit, part.numbers = "page", text.pages


class _Styles:
    """The level of the heading that each style of paragraph is, and the styles of lists."""

    def __init__(self) -> None:
        self.listed: set[str] = set()
        self._style = ""
        self._level: dict[str, int] = {}
        self._based_on: dict[str, str] = {}

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        value = attributes.get("val", "")
        if name == "style":
            self._style = attributes.get("styleId", "")
        elif name == "name" and value.lower() == "title":
            self._level.setdefault(self._style, 0)
        elif name == "name" and value.lower().startswith("heading ") and value[8:].isdecimal():
            self._level[self._style] = int(value[8:10])
        elif name == "outlineLvl" and value.isdecimal() and int(value[:3]) < 9:
            self._level.setdefault(self._style, int(value) + 1)
        elif name == "numPr":
            self.listed.add(self._style)
        elif name == "basedOn":
            self._based_on[self._style] = value

    def end(self, name: str) -> None:
        pass

    def data(self, text: str) -> None:
        pass

    def levels(self) -> dict[str, int]:
        for style in self._based_on:
            above = style
            for _ in range(10):  # styles may go round in a circle
                if above in self._level:
                    self._level[style] = self._level[above]
                    break
                above = self._based_on.get(above, "")
        return self._level


class _Text:
    """The paragraphs of a part as they come. One in a text box stands within another."""

    def __init__(self, part: Part, levels: Mapping[str, int], listed: AbstractSet[str]) -> None:
        self.heading = ""  # goes before the next paragraph
        self.page = 1
        self.pages: list[int] = []  # of each line
        self._part, self._levels, self._lists = part, levels, listed
        self._open: list[list[str]] = []  # pieces of the paragraphs under way
        self._level: list[int | None] = []  # of each of these as a heading
        self._listed: list[bool] = []
        self._begun: list[int] = []  # the pages on which they begin, 0 before their first word
        self._rows: list[list[list[str]]] = []  # cells of the rows under way, and their paragraphs
        self._number = 0
        self._unseen = self._within_text = self._within_run = 0

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if name in _UNSEEN:
            self._unseen += 1
        elif name == "p":
            self._open.append([])
            self._level.append(None)
            self._listed.append(False)
            self._begun.append(0)
        elif name == "tr":
            self._rows.append([])
        elif name == "tc" and self._rows:
            self._rows[-1].append([])
        elif not self._open:
            return
        elif name == "t":
            self._within_text += 1
        elif name == "r":
            self._within_run += 1
        elif name == "pStyle":
            self._level[-1] = self._levels.get(attributes.get("val", ""))
            self._listed[-1] = attributes.get("val", "") in self._lists
        elif name == "outlineLvl" and attributes.get("val", "").isdecimal():
            level = int(attributes["val"][:3])
            self._level[-1] = level + 1 if level < 9 else None
        elif name == "numPr":
            self._listed[-1] = True
        elif not self._within_run or self._unseen:
            return
        elif name in ("br", "cr"):
            self._open[-1].append("\n")
        elif name == "tab":
            self._open[-1].append("\t")
        elif name == "noBreakHyphen":
            self._open[-1].append("-")
        elif name == "lastRenderedPageBreak":
            self.page += 1

    def data(self, text: str) -> None:
        if self._within_text and self._open and not self._unseen:
            self._open[-1].append(text)
            self._begun[-1] = self._begun[-1] or self.page

    def end(self, name: str) -> None:
        if name in _UNSEEN:
            self._unseen = max(0, self._unseen - 1)
        elif name == "t":
            self._within_text = max(0, self._within_text - 1)
        elif name == "r":
            self._within_run = max(0, self._within_run - 1)
        elif name == "p" and self._open:
            text, level, listed = "".join(self._open.pop()), self._level.pop(), self._listed.pop()
            begun = self._begun.pop()
            if self._rows and self._rows[-1]:
                self._rows[-1][-1].append(" ".join(text.split()))
            else:
                self._add(text, level, apart=not listed, page=begun)
        elif name == "tr" and self._rows:
            row = [" ".join(filter(None, cell)) for cell in self._rows.pop()]
            text = " | ".join(row) if any(row) else ""
            if self._rows and self._rows[-1]:  # a table in a cell
                self._rows[-1][-1].append(text)
            else:
                self._add(text, None, apart=False)

    def _add(self, text: str, level: int | None, *, apart: bool, page: int = 0) -> None:
        if not text.strip():
            return
        if self.heading:
            title, self.heading = self.heading, ""
            self._add(title, 1, apart=True)
        self._number += 1
        self._part.add(text, self._number, level=level, apart=apart)
        # What is in a text box is met before the end of its paragraph.
        page = max(page or self.page, self.pages[-1] if self.pages else 1)
        self.pages += [page] * (len(self._part.lines) - len(self.pages))
