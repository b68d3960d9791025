"""Jupyter notebooks: the source of the cells, each line with its place in the .ipynb file; outputs are left out."""

import bisect
import json
import json.scanner
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from unbraid.errors import DataError
from unbraid.index.files.chunk import Limit, Lines, Section, from_headings, split_lines
from unbraid.index.files.read_code import read_code
from unbraid.index.files.read_markdown import markdown_headings
from unbraid.index.files.read_python import PYTHON_SUFFIXES, read_python
from unbraid.io.surrogates import replace_lone_surrogates

NOTEBOOK_SUFFIXES = frozenset({".ipynb"})


class _Located(str):
    """A string of a JSON text that knows where in the text it begins."""

    offset: int


def read_notebook(text: str, limit: Limit) -> tuple[Lines, list[Section]]:
    """The lines of all cells, and their sections: Markdown cells by heading, code cells as their language is cut.

    A heading is the context of the code below it too. Sections of Markdown and raw cells are text, those of code
    cells code. Raises DataError when `text` is no notebook of format 3 or 4.
    """
    line_starts = [0, *(match.end() for match in re.finditer("\n", text))]
    lines: list[str] = []
    numbers: list[int] = []
    sections: list[Section] = []
    headings: list[tuple[int, str]] = []  # (level, title) of the open ones
    notebook = _load(text)
    suffix = _code_suffix(notebook)
    for kind, pieces in _cells(notebook):
        if lines:  # a blank line between cells, in no section
            lines.append("")
            numbers.append(numbers[-1])
        first = len(lines)
        for offset, line in _join(pieces):
            lines.append(line)
            numbers.append(bisect.bisect(line_starts, offset))
        cell = Lines(lines[first:], limit=limit)
        if kind == "code":
            context = tuple(title for _, title in headings)
            inner = read_python(cell) if suffix in PYTHON_SUFFIXES else read_code(cell, suffix)
            inner = [replace(section, context=context + section.context) for section in inner]
        else:
            found = list(markdown_headings(cell.lines)) if kind == "markdown" else []
            inner = from_headings(found, len(cell.lines), headings)
            for _, level, title in found:
                headings = [heading for heading in headings if heading[0] < level] + [(level, title)]
        sections += [
            replace(
                section,
                first=section.first + first,
                end=section.end + first,
                modality="code" if kind == "code" else "text",
            )
            for section in inner
        ]
    return Lines(lines, numbers, limit), sections


def _load(text: str) -> dict[str, Any]:
    """The notebook with every string _Located. Any, as it is whatever JSON the file holds."""
    decoder: Any = json.JSONDecoder()
    scan = decoder.parse_string

    def parse_string(source: str, end: int, strict: bool) -> tuple[_Located, int]:
        value, stop = scan(source, end, strict)
        located = _Located(value)
        located.offset = end
        return located, stop

    # The scanner in Python, since the one in C makes its strings itself.
    decoder.parse_string = parse_string
    decoder.scan_once = json.scanner.py_make_scanner(decoder)  # type: ignore[attr-defined]
    try:
        notebook = decoder.decode(text)
    except (ValueError, RecursionError) as error:
        raise DataError("broken notebook") from error
    if not isinstance(notebook, dict):
        raise DataError("broken notebook")
    if isinstance(sheets := notebook.get("worksheets"), list):  # format 3
        parts = [sheet["cells"] for sheet in sheets if isinstance(sheet, dict) and "cells" in sheet]
        if parts and all(isinstance(cells, list) for cells in parts):
            notebook["cells"] = [cell for cells in parts for cell in cells]
    if not isinstance(notebook.get("cells"), list):
        raise DataError("broken notebook")
    return notebook


def _code_suffix(notebook: dict[str, Any]) -> str:
    """Suffix of the language of the code cells, ".py" when the notebook does not say."""
    metadata = notebook.get("metadata")
    language = metadata.get("language_info") if isinstance(metadata, dict) else None
    suffix = language.get("file_extension") if isinstance(language, dict) else None
    return str(suffix).lower() if isinstance(suffix, str) else ".py"


def _cells(notebook: dict[str, Any]) -> Iterator[tuple[str, list[_Located]]]:
    """(type, pieces of the source) of each cell; what is no cell is passed over."""
    for cell in notebook["cells"]:
        source = cell.get("source", cell.get("input")) if isinstance(cell, dict) else None
        strings = source if isinstance(source, list) else [source]
        pieces = [piece for piece in strings if isinstance(piece, _Located)]
        if pieces:
            kind, level = str(cell.get("cell_type")), cell.get("level")
            if kind == "heading":  # of format 3, which says its level in a number
                kind = "markdown"
                marks = _Located("#" * min(max(level if isinstance(level, int) else 1, 1), 6) + " ")
                marks.offset = pieces[0].offset
                pieces = [marks, *pieces]
            yield kind, pieces


def _join(pieces: list[_Located]) -> Iterator[tuple[int, str]]:
    """(offset of its piece in the file, line) of each line of a source, which may be one string or one a line."""
    held: tuple[int, str] | None = None
    for piece in pieces:
        # JSON may spell what no text file holds: half of a surrogate pair, and NUL.
        text = replace_lone_surrogates(piece).replace("\0", " ")
        for number, line in enumerate(split_lines(text)):
            if number and held is not None:
                yield held
                held = None
            # An empty line is only the end of the one before, its place is that of the piece that fills it.
            held = (held[0], held[1] + line) if held is not None and held[1] else (piece.offset, line)
    if held is not None:
        yield held
