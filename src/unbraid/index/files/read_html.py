"""HTML as the lines a reader sees, in sections by heading, each line with its place in the file.

The tags are found here and not by a parser, as none at hand keeps lines and is safe: `html.parser` of Python 3.11.7
took 353 s for 400 KB of "<a", tree-sitter's HTML grammar more than 5 minutes for 200 KB of "<!--", and selectolax
knows no lines. Attributes are not needed, which makes it short, and every search goes on where the last one ended.
tests/index/test_read_html.py compares it with `html.parser`.
"""

import html
import itertools
import re
from collections.abc import Iterator

from unbraid.index.files.chunk import Lines, Section, from_headings, split_lines

HTML_SUFFIXES = frozenset({".html", ".htm", ".xhtml"})

_OPENING = re.compile(r"<(?:!--|!\[CDATA\[|[!?]|(/?)([a-zA-Z][^\s/<>]*))")
_TAG_END_OR_QUOTE = re.compile(r">|=\s*([\"'])")
_HEADINGS = {"title": 1, "h1": 1, "h2": 2, "h3": 3, "h4": 4, "h5": 5, "h6": 6}
_PARAGRAPHS = frozenset(  # a blank line before and after
    "address article aside blockquote body center details dialog div dl fieldset figcaption figure footer form head"
    " header hr html main menu nav ol p pre search section summary table tbody tfoot thead ul".split()
)
_LINES = frozenset("br caption dd dt legend li optgroup option tr".split())
_CELLS = frozenset({"td", "th"})  # a space between two on one line
_UNSEEN = frozenset("script style template noscript svg iframe".split())
_NO_TAGS_WITHIN = frozenset({"title", "textarea"})


def read_html(text: str, *, xml: bool = False) -> tuple[Lines, list[Section]]:
    """The text of a page without scripts, styles and other unseen elements, and its sections by heading.

    A paragraph keeps its own line breaks. The page's title is a heading of the first level. In `xml`, and where the text
    says that it is XML, a CDATA section is text. Never raises.
    """
    page = _Page()
    number, counted = 1, 0
    text = "\n".join(split_lines(text))
    for start, piece, tag in _tokens(text, xml or text.lstrip("\ufeff \n\t").startswith("<?xml")):
        number += text.count("\n", counted, start)
        counted = start
        if tag:
            page.tag(piece, number)
        else:
            page.text(piece, number)
    page.gap()
    return Lines(page.lines, page.numbers), from_headings(page.headings, len(page.lines))


def _tokens(text: str, xml: bool) -> Iterator[tuple[int, str, bool]]:
    """(offset, text, False) and (offset, "name" or "/name", True) of what is seen, in order."""
    position, rest = 0, len(text)
    closings: dict[str, int] = {}  # element -> where its next closing tag starts, `rest` for nowhere
    while position < rest:
        opening = _OPENING.search(text, position)
        if opening is None or text.find(">", opening.end()) < 0:  # nothing behind here can be a tag
            yield position, text[position:], False
            return
        yield position, text[position : opening.start()], False
        name = (opening[2] or "").lower()
        if opening[0] == "<!--":
            end = text.find("-->", opening.start() + 2)  # also "<!-->", which is a comment
            position = rest if end < 0 else end + 3
            continue
        if xml and opening[0] == "<![CDATA[":
            end = text.find("]]>", opening.end())
            end = rest if end < 0 else end
            yield opening.end(), html.escape(text[opening.end() : end], quote=False), False
            position = end + 3
            continue
        position = _tag_end(text, opening.end()) if name else text.find(">", opening.end()) + 1
        if not name:
            continue
        closing = bool(opening[1])
        if name not in _UNSEEN:
            yield opening.start(), "/" * closing + name, True
        if name in _UNSEEN | _NO_TAGS_WITHIN and not closing and text[position - 2] != "/":
            if closings.get(name, -1) < position:
                found = re.compile(f"</{name}(?![^\\s/>])", re.IGNORECASE).search(text, position)
                closings[name] = found.start() if found else rest
            if closings[name] == rest and name not in ("script", "style"):
                continue  # never closed: its content is better seen than lost
            if name in _NO_TAGS_WITHIN:
                yield position, text[position : closings[name]], False
            position = closings[name]


def _tag_end(text: str, position: int) -> int:
    """Offset behind the ">" of a tag, from within it; one inside a quoted attribute does not count."""
    while (found := _TAG_END_OR_QUOTE.search(text, position)) and found[1]:
        position = text.find(found[1], found.end()) + 1
        if position == 0:  # the quote is never closed
            return text.find(">", found.end()) + 1 or len(text)
    return found.end() if found else len(text)


class _Page:
    """Lines of a page as they come."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.numbers: list[int] = []  # of `lines` in the file, from 1
        self.headings: list[tuple[int, int, str]] = []  # line from 0, level, title
        self._pieces: list[tuple[int, str]] = []  # of the line under way, each with its number in the file
        self._heading: tuple[int, int] | None = None  # first line and level of the heading under way
        self._preformatted = 0

    def text(self, raw: str, number: int) -> None:
        """Text that begins on line `number` of the file, entities in it."""
        for offset, line in enumerate(raw.split("\n")):
            # A character reference may stand for a line end, which would be one line more than the file has.
            self._pieces.append((number + offset, " ".join(split_lines(html.unescape(line)))))

    def tag(self, name: str, number: int) -> None:
        """A tag, "/name" for one that closes, on line `number` of the file."""
        opens, element = not name.startswith("/"), name.lstrip("/")
        if element in _HEADINGS:
            self._end_heading()
            self.gap()
            self._heading = (len(self.lines), _HEADINGS[element]) if opens else None
        elif element in _PARAGRAPHS:
            self.gap()
        elif element in _LINES:
            self._end_line()
        elif element in _CELLS:
            self._pieces.append((number, " "))
        if element == "pre":
            self._preformatted = max(0, self._preformatted + (1 if opens else -1))

    def gap(self) -> None:
        """End the paragraph."""
        self._end_line()
        if self.lines and self.lines[-1]:
            self.lines.append("")
            self.numbers.append(self.numbers[-1])

    def _end_heading(self) -> None:
        self._end_line()
        if self._heading is not None:
            first, level = self._heading
            title = " ".join(filter(None, self.lines[first:]))
            title = title.rstrip("¶\uf0c1 ")  # Sphinx's link to the heading itself
            if title:
                self.headings.append((first, level, title))

    def _end_line(self) -> None:
        for number, pieces in itertools.groupby(self._pieces, key=lambda piece: piece[0]):
            line = "".join(text for _, text in pieces)
            line = line.rstrip() if self._preformatted else " ".join(line.split())
            if line or (self._preformatted and self.lines and self.lines[-1]):
                self.lines.append(line)
                self.numbers.append(number)
        self._pieces = []
