"""SVG: the words in it, by the same reader as HTML; paths are not read."""

import re

from unbraid.errors import DataError
from unbraid.index.files.chunk import Lines, Section
from unbraid.index.files.read_html import read_html

SVG_SUFFIXES = frozenset({".svg"})
# An HTML page passes over drawings in it. <text> begins a paragraph, so that words of two labels stay apart.
_AS_HTML = {"svg": "div", "text": "p", "desc": "p"}
_TAG = re.compile(r"(</?)(?:svg:)?(svg|text|desc)(?=[\s/>])", re.IGNORECASE)


def read_svg(text: str) -> tuple[Lines, list[Section]]:
    """The text of labels, titles and descriptions, each line with its place. Raises DataError where there is none."""
    lines, sections = read_html(_TAG.sub(lambda tag: tag[1] + _AS_HTML[tag[2].lower()], text), xml=True)
    if not any(line.strip() for line in lines.lines):
        raise DataError("SVG without text")
    return lines, sections
