"""Pairs of a heading and the text of its section, which is shown without the heading."""

import re
from collections.abc import Iterator

from unbraid.index.files.chunk import NO_LIMIT, Lines, Section
from unbraid.index.files.decode import decode
from unbraid.index.files.read import read_text_sections
from unbraid.index.files.read_document import DOCUMENT_SUFFIXES, not_read, read_document
from unbraid.index.files.read_headings import HEADINGS
from unbraid.index.files.read_html import HTML_SUFFIXES
from unbraid.index.files.read_man import is_man
from unbraid.index.files.read_markdown import MARKDOWN_SUFFIXES
from unbraid.index.files.read_notebook import NOTEBOOK_SUFFIXES

WITH_HEADINGS = MARKDOWN_SUFFIXES | HTML_SUFFIXES | NOTEBOOK_SUFFIXES | DOCUMENT_SUFFIXES | HEADINGS.keys()
_NO_TEXT = re.compile(r"[\W_]*")  # a line under or over a heading, a target of a link


def section_pairs(data: bytes, suffix: str) -> Iterator[tuple[str, str]]:
    """(heading, text of its section without it) of a file, empty ones included; none for a format without headings.

    Raises DataError for what cannot be read.
    """
    if suffix in DOCUMENT_SUFFIXES:
        if not_read(suffix):  # its extra is not installed
            return
        parts = [(part.lines, part.sections) for part in read_document(data, suffix).parts]
    else:
        text, _ = decode(data)
        if suffix not in WITH_HEADINGS and not is_man(text, suffix):
            return
        parts = [read_text_sections(text, suffix, NO_LIMIT)]
    for lines, sections in parts:
        for section in sections:
            if section.name and not section.alone and section.modality != "code":
                yield section.name, _body(lines, section)


def _body(lines: Lines, section: Section) -> str:
    """The lines of a section behind its heading, which is its first line with letters."""
    rest = lines.lines[section.first : section.end]
    for _ in range(2):  # the heading with what stands over it, and what stands under it
        while rest and _NO_TEXT.fullmatch(rest[0]):
            del rest[0]
        if _ == 0:
            del rest[:1]
    return "\n".join(rest).strip()
