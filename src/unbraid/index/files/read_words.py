"""The words in pictures, with the rapidocr that `unbraid[ocr]` installs: PP-OCRv6 small, in a process of its own."""

import importlib.util
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self, TypeAlias

from unbraid.errors import DataError, ImageError
from unbraid.index.files.chunk import Limit, Lines, Section, cut_sections
from unbraid.io.child import Child
from unbraid.io.surrogates import replace_lone_surrogates
from unbraid.runtime.preprocess import picture_size

MAX_SECONDS = (
    30.0  # of the processor, a picture or page of up to QUICK_PIXELS; larger ones have as many times longer
)
QUICK_PIXELS = 8_000_000  # a picture that is not very long is made smaller than this before it is read
LOAD_SECONDS = 60.0  # the models
MAX_FRAMES = 200  # pages of a TIFF
_PROGRAM = Path(__file__).with_name("words_process.py")

# Left, top, right, bottom as shares of the picture's width and height.
Box: TypeAlias = tuple[float, float, float, float]


@dataclass(frozen=True)
class Line:
    """Words in one line of a picture, and where it stands."""

    text: str
    box: Box


@cache
def can_read_words() -> bool:
    """Whether rapidocr is installed."""
    return importlib.util.find_spec("rapidocr") is not None


class WordReader:
    """Reads pictures one at a time, on one thread. Use it in a `with` block."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._child = Child(_PROGRAM)

    def __enter__(self) -> Self:
        """The reader itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self._child.close()

    def fault(self) -> str | None:
        """Load the models; why they cannot read anything, None if they can."""
        try:
            about, _ = self._child.ask({}, seconds=LOAD_SECONDS)
        except (TimeoutError, EOFError) as error:
            return f"the OCR process did not start: {error}"
        return about.get("fault")

    def read(self, picture: bytes, tell: Callable[[str], None]) -> dict[int | None, list[Line]]:
        """The lines of a picture file's content, in reading order, none blank: by page, from 1, of a TIFF of several.

        Other pictures have the one page None. Raises DataError, whose message is the reason, for what cannot be decoded
        or takes too long. Of a later page `tell` gets the reason, and the pages from there on are left out.
        """
        lines, frames = self._read_frame(picture, 0)
        pages: dict[int | None, list[Line]] = {1 if frames > 1 else None: lines}
        for frame in range(1, min(frames, MAX_FRAMES)):
            try:
                pages[frame + 1], _ = self._read_frame(picture, frame)
            except DataError as error:
                tell(f"page {frame + 1} and those behind it: {error}")
                break
        return pages

    def _read_frame(self, picture: bytes, frame: int) -> tuple[list[Line], int]:
        try:
            about, _ = self._child.ask({"frame": frame}, picture, seconds=_seconds(picture))
        except (TimeoutError, EOFError) as error:
            raise DataError(f"its words were not read: {error}") from None
        if reason := about.get("reason") or about.get("fault"):
            raise DataError(f"its words were not read: {reason}")
        lines = [(" ".join(replace_lone_surrogates(text).split()), box) for text, *box in about["lines"]]
        return [Line(text, _box(box)) for text, box in lines if text], about["frames"]


def _seconds(picture: bytes) -> float:
    """How long a picture may take. One that cannot be opened is refused by the process that reads it."""
    try:
        width, height = picture_size(picture)
    except ImageError:
        return MAX_SECONDS
    return MAX_SECONDS * max(1.0, width * height / QUICK_PIXELS)


def cut_lines(lines: Sequence[Line], limit: Limit) -> Iterator[list[Line]]:
    """Lines in chunks that the encoder reads whole; each part of a line that is too long has the box of that line."""
    source = Lines([line.text for line in lines], limit=limit)
    for chunk in cut_sections(source, [Section(0, len(lines))]):
        if chunk.first_line is not None and chunk.last_line is not None:
            whole = lines[chunk.first_line - 1 : chunk.last_line]
            texts = chunk.snippet.split("\n")
            yield [Line(text, one.box) for text, one in zip(texts, whole, strict=True)]


def write_boxes(lines: Iterable[Line]) -> str:
    """The boxes of lines as an index stores them: "left,top,right,bottom", one a line."""
    return "\n".join(",".join(f"{number:.4g}" for number in line.box) for line in lines)


def read_boxes(text: str) -> list[Box]:
    """The boxes that `write_boxes` wrote."""
    return [_box(line.split(",")) for line in text.splitlines()]


def _box(numbers: Iterable[str | float]) -> Box:
    left, top, right, bottom = map(float, numbers)
    return left, top, right, bottom
