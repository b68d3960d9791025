"""PDF by page, with the pypdfium2 that `unbraid[documents]` installs: its text, and its pages as pictures."""

import importlib.util
from functools import cache
from pathlib import Path
from typing import Self

from unbraid.errors import DataError
from unbraid.index.files.chunk import Lines, Section, split_lines
from unbraid.io.child import Child
from unbraid.io.surrogates import replace_lone_surrogates

PDF_SUFFIXES = frozenset({".pdf"})
MAX_PAGES = 2000
MAX_CHARACTERS = 8 * 1024**2
MAX_SECONDS = 120.0  # to read all pages
MAX_PAGE_SECONDS = 20.0  # to draw one
_PROGRAM = Path(__file__).with_name("pdf_process.py")


@cache
def can_read_pdf() -> bool:
    """Whether pypdfium2 is installed."""
    return importlib.util.find_spec("pypdfium2") is not None


class Pdf:
    """A PDF that was read: the text of its pages. Use it in a `with` block, in which its pages can be drawn."""

    def __init__(self, data: bytes) -> None:
        """Read all pages. Raises DataError for a PDF that is broken, encrypted or too large, with the reason."""
        if b"%PDF-" not in data[:1024]:  # where readers look for it
            raise DataError("broken PDF")
        self._child = Child(_PROGRAM)
        limits = {"max_pages": MAX_PAGES, "max_characters": MAX_CHARACTERS}
        try:
            about, _ = self._child.ask(limits, data, seconds=MAX_SECONDS)
            if "reason" in about:
                raise DataError(about["reason"])
        except TimeoutError:
            raise DataError(f"PDF that takes over {MAX_SECONDS:.0f} seconds") from None
        except EOFError:  # it died, of memory for one
            raise DataError("broken PDF") from None
        except BaseException:
            self._child.close()
            raise
        self.pages = [replace_lone_surrogates(text).replace("\0", " ") for text in about["pages"]]
        self._blank = set(about["blank"])

    def __enter__(self) -> Self:
        """The PDF itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process that reads it."""
        self._child.close()

    @property
    def without_text(self) -> list[int]:
        """Pages, from 1, that show something but no text: scans."""
        texts = enumerate(self.pages, start=1)
        return [page for page, text in texts if not text.strip() and page not in self._blank]

    def draw(self, page: int, side: int, form: str) -> bytes:
        """Page `page`, from 1, `side` pixels on its longer side, as a file in Pillow's format `form`: "JPEG", "BMP".

        Raises DataError, whose message is the reason, when it cannot be drawn. No other page can be drawn then.
        """
        try:
            about, picture = self._child.ask(
                {"page": page, "side": side, "format": form}, seconds=MAX_PAGE_SECONDS
            )
        except (TimeoutError, EOFError) as error:
            raise DataError(f"page {page} was not drawn: {error}") from None
        if "reason" in about:
            raise DataError(f"page {page} was not drawn: {about['reason']}")
        return picture


def page_lines(pages: list[str]) -> tuple[Lines, list[Section]]:
    """The lines of all pages, numbered by page, and a section for each page."""
    lines: list[str] = []
    numbers: list[int] = []
    sections: list[Section] = []
    for number, page in enumerate(pages, start=1):
        first = len(lines)
        lines += [*split_lines(page.strip("\r\n")), ""]  # a blank line, at which a section may be cut
        numbers += [number] * (len(lines) - first)
        sections.append(Section(first, len(lines)))
    return Lines(lines, numbers), sections


def read_pdf(data: bytes) -> tuple[Lines, list[Section]]:
    """The lines of all pages, numbered by page, and a section for each page.

    Raises DataError as `Pdf`, and for one without text (a scan).
    """
    with Pdf(data) as pdf:
        if not any(page.strip() for page in pdf.pages):
            raise DataError("PDF without text")
        return page_lines(pdf.pages)
