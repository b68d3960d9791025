"""Lines in sections, and sections in chunks that the encoder can see whole: the same for every format.

A section that is too long is cut at blank lines into pieces, and pieces too short to mean much are joined to the next.
"""

import itertools
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from unbraid.items import Modality

# Word pieces without the tokenizer: measured on 900-character windows of the standard library and of Markdown,
# all-MiniLM-L6-v2's own count is 0.90 to 0.98 of this one (median), 1.14 at the 99th percentile; a count of
# bytes is off by 1.9 there. 220 of these stay below the encoder's 256 with room for the context.
PIECE = re.compile(r"[A-Za-z]{1,5}|[0-9]{1,3}|[^\sA-Za-z0-9]|\s{20}")
MAX_PIECES = 220
SMALL_PIECES = 60  # a chunk below this is joined to the next one
MAX_LINES = 40


@dataclass(frozen=True)
class Chunk:
    """Lines `first_line` to `last_line` (from 1, inclusive) of a file; pages of a PDF; both None for a picture.

    `snippet` is the text of those lines, or one piece of a single long line; `context` names the headings or the
    definitions around them, outermost first. `modality` is None where it is that of the file.
    """

    first_line: int | None
    last_line: int | None
    snippet: str
    context: tuple[str, ...] = ()
    modality: Modality | None = None

    @property
    def encoded(self) -> str:
        """What the encoder reads: the snippet behind its context."""
        return in_context(" > ".join(self.context), self.snippet)


@dataclass(frozen=True)
class Section:
    """Lines [first, end) from 0; `name` joins the context of every piece but the first, which shows it."""

    first: int
    end: int
    context: tuple[str, ...] = ()
    name: str = ""
    modality: Modality | None = None


class Lines:
    """Lines of text, where each stands in its file, and the word pieces of any run of them in constant time."""

    def __init__(self, lines: list[str], numbers: list[int] | None = None) -> None:
        """`numbers`, from 1 and never falling, are the file's lines (a PDF's pages) that the text comes from."""
        self.lines = lines
        self.numbers = list(range(1, len(lines) + 1)) if numbers is None else numbers
        counts = (len(PIECE.findall(line)) for line in lines)
        self._pieces = list(itertools.accumulate(counts, initial=0))

    def pieces(self, first: int, end: int) -> int:
        """Word pieces of lines [first, end)."""
        return self._pieces[end] - self._pieces[first]

    def fit(self, first: int, end: int) -> bool:
        """Whether lines [first, end) make one chunk."""
        return end - first <= MAX_LINES and self.pieces(first, end) <= MAX_PIECES

    def small(self, first: int, end: int) -> bool:
        """Whether lines [first, end) are too short to be a chunk."""
        return end - first <= MAX_LINES // 2 and self.pieces(first, end) < SMALL_PIECES

    def blank(self, number: int) -> bool:
        """Whether line `number`, from 0, is blank."""
        return not self.lines[number].strip()

    def text(self, first: int, end: int) -> str:
        """Lines [first, end) as one text."""
        return "\n".join(self.lines[first:end])


def split_lines(text: str) -> list[str]:
    """The lines of `text` without their ends; one more than there are line ends, whichever kind they are."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def from_starts(starts: dict[int, tuple[tuple[str, ...], str]], end: int) -> list[Section]:
    """Sections by first line, each up to the next; `starts` gives (context, name), with 0 where it has none."""
    firsts = sorted({0} | starts.keys())
    return [
        Section(first, stop, *starts.get(first, ((), "")))
        for first, stop in zip(firsts, [*firsts[1:], end], strict=True)
    ]


def from_headings(
    headings: Iterable[tuple[int, int, str]], end: int, outer: Iterable[tuple[int, str]] = ()
) -> list[Section]:
    """Sections by heading (first line, level from 1, title), with the titles above each as its context.

    `outer` are (level, title) of headings open before the first line.
    """
    path = list(outer)
    starts: dict[int, tuple[tuple[str, ...], str]] = {0: (tuple(title for _, title in path), "")}
    for first, level, title in headings:
        path = [heading for heading in path if heading[0] < level]
        starts[first] = tuple(title for _, title in path), title
        path.append((level, title))
    return from_starts(starts, end)


def cut_sections(source: Lines, sections: Iterable[Section]) -> list[Chunk]:
    """Chunks of `sections`, which are in order and hold every line that is not blank; so do the chunks."""
    pieces = itertools.chain.from_iterable(_split(section, source) for section in sections)
    return list(
        itertools.chain.from_iterable(_chunks(piece, source) for piece in _join_small(pieces, source))
    )


def below(context: tuple[str, ...], name: str) -> tuple[str, ...]:
    """The context of what stands under `name`, which may be empty."""
    return (*context, name) if name else context


def _split(section: Section, source: Lines) -> Iterator[Section]:
    """The section itself when it fits, otherwise parts of it, cut at blank lines or, failing that, at any line."""
    if source.fit(section.first, section.end):
        yield section
        return
    starts = [n for n in range(section.first + 1, section.end) if source.blank(n - 1) and not source.blank(n)]
    for first, end in _pack(itertools.pairwise([section.first, *starts, section.end]), source):
        yield replace(section, first=first, end=end)
        section = replace(section, context=below(section.context, section.name), name="")


def _pack(
    blocks: Iterable[tuple[int, int]], source: Lines, by_line: bool = False
) -> Iterator[tuple[int, int]]:
    """Adjacent blocks together as long as they fit; a block that does not fit alone is packed by lines.

    A small block is never left alone: a heading stays with the first lines after it, even when these are one line that
    is too long, which `_chunks` then cuts.
    """
    held: tuple[int, int] | None = None
    for first, end in blocks:
        if held and source.fit(held[0], end):
            held = held[0], end
            continue
        if held and source.small(*held):
            first = held[0]
        elif held:
            yield held
        held = first, end
        if not by_line and not source.fit(first, end):
            *whole, held = _pack(((n, n + 1) for n in range(first, end)), source, by_line=True)
            yield from whole
    if held:
        yield held


def _join_small(sections: Iterable[Section], source: Lines) -> Iterator[Section]:
    """Joins each small section to the next where both fit: imports to a function, a title to its text."""
    held: Section | None = None
    for section in sections:
        if held:
            if source.small(held.first, held.end) and source.fit(held.first, section.end):
                context = _shared(held.context, section.context)
                section = Section(held.first, section.end, context, modality=section.modality)
            else:
                yield held
        held = section
    if held:
        yield held


def _shared(a: tuple[str, ...], b: tuple[str, ...]) -> tuple[str, ...]:
    """The names with which both contexts begin."""
    pairs = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False))
    return tuple(name for name, _ in pairs)


def _chunks(section: Section, source: Lines) -> Iterator[Chunk]:
    """The section without the blank lines around it as one chunk; several where it holds a line too long to fit."""
    filled = [n for n in range(section.first, section.end) if not source.blank(n)]
    if not filled:
        return
    first, last = filled[0], filled[-1]
    text, context, numbers = source.text(first, last + 1), section.context, source.numbers
    if source.pieces(first, last + 1) <= MAX_PIECES:
        yield Chunk(numbers[first], numbers[last], text, context, section.modality)
        return
    line = first
    for part in _cut(text):
        line += part[: len(part) - len(part.lstrip())].count("\n")
        snippet = part.strip()
        if snippet:
            last = line + snippet.count("\n")
            yield Chunk(numbers[line], numbers[last], snippet, context, section.modality)
            context = below(section.context, section.name)
        line += part.lstrip().count("\n")


def _cut(text: str) -> Iterator[str]:
    """Equal parts of `text` of at most MAX_PIECES each, never cut inside a word of five letters or fewer."""
    starts = [match.start() for match in PIECE.finditer(text)]
    parts = math.ceil(len(starts) / MAX_PIECES)
    size = math.ceil(len(starts) / parts)
    for first, end in itertools.pairwise([0, *starts[size::size], len(text)]):
        yield text[first:end]


def in_context(context: str, snippet: str) -> str:
    """A chunk's text behind what stands around it."""
    return f"{context}: {snippet}" if context else snippet
