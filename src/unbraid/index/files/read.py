"""A file in chunks that the encoder can see whole, each with its lines.

A file is read as lines of text in sections: headings, definitions, cells, pages, otherwise the whole file. That is one
module for each format (read_markdown.py and so on). chunk.py cuts and joins the sections to chunks.
"""

from dataclasses import replace
from functools import cache, partial

from unbraid.index.files.chunk import (
    Chunk,
    Limit,
    Lines,
    Section,
    cut_sections,
    from_headings,
    limit_of,
    split_lines,
)
from unbraid.index.files.content import FileContent
from unbraid.index.files.decode import decode
from unbraid.index.files.front_matter import front_matter_fields
from unbraid.index.files.generated import is_data
from unbraid.index.files.read_code import read_code
from unbraid.index.files.read_document import DOCUMENT_SUFFIXES, read_document
from unbraid.index.files.read_headings import HEADINGS
from unbraid.index.files.read_html import HTML_SUFFIXES, read_html
from unbraid.index.files.read_keys import KEY_SUFFIXES, read_keys
from unbraid.index.files.read_man import is_man, read_man
from unbraid.index.files.read_markdown import MARKDOWN_SUFFIXES, markdown_headings
from unbraid.index.files.read_notebook import NOTEBOOK_SUFFIXES, read_notebook
from unbraid.index.files.read_pdf import PDF_SUFFIXES, read_pdf
from unbraid.index.files.read_python import PYTHON_SUFFIXES, read_python
from unbraid.index.files.read_subtitles import SUBTITLE_SUFFIXES, read_subtitles
from unbraid.index.files.read_svg import SVG_SUFFIXES, read_svg
from unbraid.index.files.read_table import CSV_SUFFIXES, ROW_SUFFIXES, apart, read_csv
from unbraid.index.files.within import read_within

# What is attached to a message is read, also where the message is attached to another one or lies in an archive.
DEPTH = 2


def read_file(data: bytes, suffix: str, limit: Limit | None = None, *, depth: int = DEPTH) -> FileContent:
    """A file's content; its chunks are in order, none empty; `suffix` (".md", ".pdf", ...) decides how it is read.

    `limit` says what the encoder reads of a text, by default that of the starter; `depth` how many messages around one
    another have their attachments read. Raises DataError, whose message is the reason, for what is no text, and for a
    broken PDF, document or notebook.
    """
    if suffix.lower() in PDF_SUFFIXES:
        lines, sections = read_pdf(data)
        return FileContent(cut_sections(lines.within(limit or starter_limit()), sections))
    if suffix.lower() in DOCUMENT_SUFFIXES:
        return _read_document(data, suffix.lower(), limit or starter_limit(), depth)
    text, assumed = decode(data)
    fields = front_matter_fields(split_lines(text)) if suffix.lower() in MARKDOWN_SUFFIXES else {}
    found = read_text_chunks(text, suffix, limit)
    return replace(_without_data(found), fields=fields, assumed=assumed)


def _read_document(data: bytes, suffix: str, limit: Limit, depth: int) -> FileContent:
    """The chunks of all parts of a document and of what is attached to it. Raises DataError as `read_document`."""
    document = read_document(data, suffix)
    own = _without_data(
        [
            replace(chunk, unit=part.unit)
            for part in document.parts
            for chunk in cut_sections(part.lines.within(limit), part.sections)
        ]
    )
    members = document.members
    if not depth:
        members = ((name, "attached to a message within others") for name, _ in members)
    attached = read_within(members, "a message", partial(read_file, limit=limit, depth=depth - 1))
    return replace(
        attached, chunks=[*own.chunks, *attached.chunks], left_out=own.left_out + attached.left_out
    )


def _without_data(found: list[Chunk]) -> FileContent:
    chunks = [chunk for chunk in found if not is_data(chunk.snippet)]
    return FileContent(chunks, left_out=len(found) - len(chunks))


def read_chunks(data: bytes, suffix: str, limit: Limit | None = None) -> list[Chunk]:
    """The chunks that `read_file` finds."""
    return read_file(data, suffix, limit).chunks


def read_text_chunks(text: str, suffix: str, limit: Limit | None = None) -> list[Chunk]:
    """Chunks of a file's text, in order, none empty; together they hold every line that is not blank.

    Of HTML they hold what is seen, of a notebook the source of its cells. Any text is accepted, code that does not
    parse is cut at blank lines; only a broken notebook and an SVG without text raise DataError.
    """
    limit = limit or starter_limit()
    lines, sections = read_text_sections(text, suffix, limit)
    return cut_sections(lines.within(limit), sections)


def read_text_sections(text: str, suffix: str, limit: Limit) -> tuple[Lines, list[Section]]:
    """The lines of a file's text and its sections before they are cut; of code, `limit` says what is one section.

    Raises as `read_text_chunks`.
    """
    suffix = suffix.lower()
    if suffix in HTML_SUFFIXES:
        return read_html(text, xml=suffix == ".xhtml")
    if suffix in SVG_SUFFIXES:
        return read_svg(text)
    if suffix in NOTEBOOK_SUFFIXES:
        return read_notebook(text, limit)
    source = Lines(split_lines(text), limit=limit)
    if suffix in CSV_SUFFIXES:
        return read_csv(source, suffix)
    if suffix in ROW_SUFFIXES:
        return source, apart(len(source.lines))
    if suffix in SUBTITLE_SUFFIXES:
        return read_subtitles(source)
    if is_man(text, suffix):
        return read_man(source.lines)
    if suffix in HEADINGS:
        return source, from_headings(HEADINGS[suffix](source.lines), len(source.lines))
    if suffix in KEY_SUFFIXES:
        return source, read_keys(source, suffix)
    if suffix in MARKDOWN_SUFFIXES:
        return source, from_headings(markdown_headings(source.lines), len(source.lines))
    if suffix in PYTHON_SUFFIXES:
        return source, read_python(source)
    return source, read_code(source, suffix)


@cache
def starter_limit() -> Limit:
    """The limit of the bundle in the package."""
    from unbraid.bundle import STARTER, read_bundle
    from unbraid.embedder import Embedder

    return limit_of(Embedder(read_bundle(STARTER)))
