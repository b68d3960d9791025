"""PDF by page, with the pypdf that `unbraid[documents]` installs."""

import importlib.util
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

from unbraid.errors import DataError
from unbraid.index.files.chunk import Lines, Section, split_lines
from unbraid.io.surrogates import replace_lone_surrogates

PDF_SUFFIXES = frozenset({".pdf"})
MAX_PAGES = 2000
MAX_CHARACTERS = 8 * 1024**2
MAX_SECONDS = 120.0
_PROGRAM = Path(__file__).with_name("pdf_process.py")


@cache
def can_read_pdf() -> bool:
    """Whether pypdf is installed."""
    return importlib.util.find_spec("pypdf") is not None


def read_pdf(data: bytes) -> tuple[Lines, list[Section]]:
    """The lines of all pages, numbered by page, and a section for each page.

    Raises DataError for a PDF that is broken, encrypted, without text (a scan), or too large: more than MAX_PAGES or
    MAX_CHARACTERS, or more than MAX_SECONDS to read.
    """
    lines: list[str] = []
    numbers: list[int] = []
    sections: list[Section] = []
    for number, page in enumerate(_pages(data), start=1):
        text = replace_lone_surrogates(page).replace("\0", " ")
        first = len(lines)
        lines += split_lines(text)
        numbers += [number] * (len(lines) - first)
        sections.append(Section(first, len(lines)))
    return Lines(lines, numbers), sections


def _pages(data: bytes) -> list[str]:
    if b"%PDF-" not in data[:1024]:  # where readers look for it
        raise DataError("broken PDF")
    command = [sys.executable, "-P", str(_PROGRAM), str(MAX_PAGES), str(MAX_CHARACTERS)]
    try:
        child = subprocess.run(
            command,
            input=data,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=MAX_SECONDS,
            check=True,
        )
        result = json.loads(child.stdout)
    except subprocess.TimeoutExpired:
        raise DataError(f"PDF that takes over {MAX_SECONDS:.0f} seconds") from None
    except (subprocess.CalledProcessError, ValueError):  # it died, of memory for one
        raise DataError("broken PDF") from None
    if "reason" in result:
        raise DataError(result["reason"])
    return list(result["pages"])
