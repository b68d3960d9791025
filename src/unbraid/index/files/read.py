"""A file in pieces the encoder can see whole, each with its lines.

Three steps: a file is read as lines of text in sections (headings, definitions, cells, pages, otherwise the whole
file), a section that is too long is cut into pieces at blank lines, and pieces too short to mean much are joined to
the next. The first is a file for each format (`chunk_markdown.py` and so on), the others are in `sections.py`.
"""

from unbraid.errors import DataError
from unbraid.index.files.chunk import Chunk, Lines, Section, chunks, from_headings, split_lines
from unbraid.index.files.read_code import tree_sections
from unbraid.index.files.read_html import HTML_SUFFIXES, html_lines
from unbraid.index.files.read_markdown import MARKDOWN_SUFFIXES, markdown_headings
from unbraid.index.files.read_notebook import NOTEBOOK_SUFFIXES, notebook_lines
from unbraid.index.files.read_pdf import PDF_SUFFIXES, pdf_lines
from unbraid.index.files.read_python import PYTHON_SUFFIXES, python_sections
from unbraid.index.files.walk import is_binary


def chunk_file(data: bytes, suffix: str) -> list[Chunk]:
    """Chunks of a file's content, in order, none empty; `suffix` (".md", ".pdf", ...) picks how it is read.

    Raises DataError, whose message is the reason, for what is not UTF-8 text, and for a broken PDF or notebook.
    """
    if suffix.lower() in PDF_SUFFIXES:
        source, sections = pdf_lines(data)
        return chunks(sections, source)
    if is_binary(data):
        raise DataError("binary")
    return chunk(data.decode("utf-8-sig"), suffix)


def chunk(text: str, suffix: str) -> list[Chunk]:
    """Chunks of a file's text, in order, none empty; together they hold every line that is not blank.

    Of HTML they hold what is seen, of a notebook the source of its cells. Any text is accepted, code that does not
    parse is split at blank lines; only a notebook raises DataError when it is none.
    """
    suffix = suffix.lower()
    if suffix in HTML_SUFFIXES:
        source, sections = html_lines(text)
    elif suffix in NOTEBOOK_SUFFIXES:
        source, sections = notebook_lines(text)
    else:
        source = Lines(split_lines(text))
        sections = _sections(source, suffix)
    return chunks(sections, source)


def _sections(source: Lines, suffix: str) -> list[Section]:
    """Sections of a text that is indexed as it stands."""
    if suffix in MARKDOWN_SUFFIXES:
        return from_headings(markdown_headings(source.lines), len(source.lines))
    if suffix in PYTHON_SUFFIXES:
        return python_sections(source)
    return tree_sections(source, suffix)
