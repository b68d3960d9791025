"""Lines in sections, and sections in chunks that the encoder can see whole: the same for every format.

A section that is too long is cut at blank lines into pieces, and pieces too short to mean much are joined to the next.
"""

import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias

from unbraid.items import Modality

# Tokens of a chunk and of its context: longer ones are found less well, whatever the encoder can read.
MOST_TOKENS, CONTEXT_TOKENS = 254, 34
# A word that no tokenizer knows, such as base64, may be one token however long it is.
CHARACTERS_OF_TOKEN = 16
SMALL = 60  # a chunk with fewer tokens is joined to the next one
MAX_LINES = 40
_TYPE = re.compile(r"(class|struct|interface|enum|union|record|trait|impl|object) \S")
# Where to cut a line, best first.
_CUTS = (
    r"\n\s*",
    r"(?<=[.!?;:。！？])\s+",
    r"\s+",
    r"(?<=\W)(?=\w)|(?<=\w)(?=\W)",
)


Count: TypeAlias = Callable[[Sequence[str]], Sequence[int]]  # tokens of each of several texts


@dataclass(frozen=True)
class Limit:
    """How much of a text an encoder reads: `tokens`, counted by `count` for each of several texts."""

    tokens: int
    count: Count

    def sizes(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, and more for one that is very long for its tokens."""
        tokens = self.count(texts)
        return [max(size, len(text) // CHARACTERS_OF_TOKEN) for size, text in zip(tokens, texts, strict=True)]

    @property
    def context(self) -> int:
        """Tokens that the context of a chunk may take."""
        return min(CONTEXT_TOKENS, self.tokens // 4)

    @property
    def room(self) -> int:
        """Tokens of lines that are put together to a chunk."""
        return max(1, self.tokens - self.context)


@dataclass(frozen=True)
class Chunk:
    """Lines `first_line` to `last_line` (from 1, inclusive) of a file; both None for a picture.

    `unit` says what they are where they are no lines: "slide", "sheet Sales, row"; it is empty for pages of a PDF.

    `snippet` is the text of those lines, or one piece of a single long line; `context` names the headings or the
    definitions around them, outermost first. `modality` is None where it is that of the file.
    """

    first_line: int | None
    last_line: int | None
    snippet: str
    context: tuple[str, ...] = ()
    modality: Modality | None = None
    unit: str = ""

    @property
    def encoded(self) -> str:
        """What the encoder reads: the snippet behind its context."""
        return in_context(" > ".join(self.context), self.snippet)


@dataclass(frozen=True)
class Section:
    """Lines [first, end) from 0; `name` joins the context of every piece but the first, which shows it.

    One that is `alone`, as a row of a table, makes chunks of its own, however short it is.
    """

    first: int
    end: int
    context: tuple[str, ...] = ()
    name: str = ""
    modality: Modality | None = None
    alone: bool = False


def limit_of(model: Any) -> Limit:
    """What `model` (index/protocol.py) reads of a chunk, at most MOST_TOKENS."""
    return Limit(min(MOST_TOKENS, model.max_tokens), model.count_tokens)


NO_LIMIT = Limit(1 << 30, lambda texts: [0] * len(texts))


class Lines:
    """Lines of text, where each stands in its file, and the tokens of any run of them in constant time."""

    def __init__(self, lines: list[str], numbers: list[int] | None = None, limit: Limit = NO_LIMIT) -> None:
        """`numbers`, from 1 and never falling, are the file's lines (a PDF's pages) that the text comes from."""
        self.lines = lines
        self.numbers = list(range(1, len(lines) + 1)) if numbers is None else numbers
        self.limit = limit

    def within(self, limit: Limit) -> "Lines":
        """The same lines for an encoder with this limit."""
        return self if limit == self.limit else Lines(self.lines, self.numbers, limit)

    @cached_property
    def _tokens(self) -> list[int]:
        return list(itertools.accumulate(self.limit.sizes(self.lines), initial=0))

    def tokens(self, first: int, end: int) -> int:
        """Tokens of lines [first, end)."""
        return self._tokens[end] - self._tokens[first]

    def fit(self, first: int, end: int) -> bool:
        """Whether lines [first, end) make one chunk."""
        return end - first <= MAX_LINES and self.tokens(first, end) <= self.limit.room

    def small(self, first: int, end: int) -> bool:
        """Whether lines [first, end) are too short to be a chunk."""
        return end - first <= MAX_LINES // 2 and self.tokens(first, end) < min(SMALL, self.limit.room // 3)

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
    """Chunks of `sections`, which are in order and hold every line that is not blank; so do the chunks.

    Each is read whole by an encoder of the limit of `source`, behind its context, of which the outer names are left
    out where it is long.
    """
    found = itertools.chain.from_iterable(_chunks(piece, source) for piece in _pieces(sections, source))
    return list(_readable(list(found), source.limit))


def below(context: tuple[str, ...], name: str) -> tuple[str, ...]:
    """The context of what stands under `name`, which may be empty."""
    return (*context, name) if name else context


def _pieces(sections: Iterable[Section], source: Lines) -> Iterator[Section]:
    """Sections that fit, or parts of them; a small one is joined to the next: imports to a function, a title to its text."""
    held: Section | None = None
    for section in sections:
        joined = held is not None and source.small(held.first, held.end) and not _is_apart(held, section)
        if held and joined:
            context = _shared(held.context, section.context)
            parts = list(_split(section, source, held.first, context))
        else:
            if held:
                yield held
            parts = list(_split(section, source, section.first, section.context))
        *whole, held = parts
        yield from whole
    if held:
        yield held


def _is_apart(held: Section, section: Section) -> bool:
    """Whether one is alone, or `section` a definition after a type that does not hold it: a function behind a class."""
    return (
        (held.alone or section.alone)
        or bool(section.name and _TYPE.match(held.name))
        and held.name not in section.context
    )


def _split(section: Section, source: Lines, first: int, context: tuple[str, ...]) -> Iterator[Section]:
    """The section itself when it fits, otherwise parts of it, cut at blank lines or, failing that, at any line.

    The first part begins at line `first`, which may be before the section, and has its `context`.
    """
    if source.fit(first, section.end):
        yield replace(section, first=first, context=context)
        return
    starts = [n for n in range(section.first + 1, section.end) if source.blank(n - 1) and not source.blank(n)]
    lead = [first] if first < section.first else []
    for start, end in _pack(itertools.pairwise([*lead, section.first, *starts, section.end]), source):
        yield replace(section, first=start, end=end, context=context)
        context = below(section.context, section.name)
        section = replace(section, context=context, name="")


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


def _shared(a: tuple[str, ...], b: tuple[str, ...]) -> tuple[str, ...]:
    """The names with which both contexts begin."""
    pairs = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False))
    return tuple(name for name, _ in pairs)


@dataclass(frozen=True)
class _Draft:
    """A chunk before it is measured: its lines, their numbers in the file, and the name of its section.

    `most` is at least the tokens of its lines together; None for a piece of a line, which is to be counted.
    """

    chunk: Chunk
    numbers: list[int]
    name: str
    most: int | None = None


def _chunks(section: Section, source: Lines) -> Iterator[_Draft]:
    """The section without the blank lines around it, if any are left."""
    filled = [n for n in range(section.first, section.end) if not source.blank(n)]
    if filled:
        first, last = filled[0], filled[-1]
        text, numbers = source.text(first, last + 1), source.numbers[first : last + 1]
        chunk = Chunk(numbers[0], numbers[-1], text, section.context, section.modality)
        # No tokenizer makes more of lines that are joined than the tokens of each and one for each end.
        yield _Draft(chunk, numbers, section.name, source.tokens(first, last + 1) + len(numbers))


def _readable(drafts: Sequence[_Draft], limit: Limit) -> Iterator[Chunk]:
    """Chunks of the drafts, with the end of their contexts; one that is too long is cut as often as it takes.

    One that is short enough by the tokens of its lines is not counted as a whole.
    """
    contexts = _ends_of_contexts({draft.chunk.context for draft in drafts}, limit)
    chunks = [replace(draft.chunk, context=contexts[draft.chunk.context]) for draft in drafts]
    counted = [
        row
        for row, draft in enumerate(drafts)
        if draft.most is None or draft.most + limit.context > limit.tokens
    ]
    sizes = dict(zip(counted, limit.sizes([chunks[row].encoded for row in counted]), strict=True))
    for row, (draft, chunk) in enumerate(zip(drafts, chunks, strict=True)):
        size = sizes.get(row, 0)
        if size <= limit.tokens or len(chunk.snippet) < 2:
            yield chunk
        else:
            yield from _readable(list(_cut_draft(draft, math.ceil(size / limit.room))), limit)


def _ends_of_contexts(
    contexts: Iterable[tuple[str, ...]], limit: Limit
) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Each context -> as many of its last names, and letters of the last one, as fit."""
    found = {context: context for context in contexts}
    too_long = list(found)
    while too_long:
        sizes = limit.sizes([f"{' > '.join(found[context])}:" for context in too_long])
        too_long = [
            context
            for context, size in zip(too_long, sizes, strict=True)
            if size > limit.context and found[context]
        ]
        for context in too_long:
            *outer, name = found[context]
            found[context] = (
                (*outer[1:], name) if outer else (name[: len(name) // 2].rstrip(),) * (len(name) > 1)
            )
    return found


def _cut_draft(draft: _Draft, parts: int) -> Iterator[_Draft]:
    """The draft in about equal parts, at least two, none empty; the first shows the name of the section."""
    chunk, name = draft.chunk, draft.name
    context = chunk.context
    line = 0
    for part in _cut(chunk.snippet, max(2, parts)):
        line += part[: len(part) - len(part.lstrip())].count("\n")
        snippet = part.strip()
        if snippet:
            numbers = draft.numbers[line : line + snippet.count("\n") + 1]
            piece = replace(
                chunk, first_line=numbers[0], last_line=numbers[-1], snippet=snippet, context=context
            )
            yield _Draft(piece, numbers, name)
            context, name = below(context, name), ""
        line += part.lstrip().count("\n")


def _cut(text: str, parts: int) -> Iterator[str]:
    """`text` in about equal parts, cut near a line's end, else near a sentence's, a word's, anywhere."""
    size = len(text) / parts
    place = 0
    for number in range(1, parts):
        ideal, slack = round(number * size), max(1, int(size / 4))
        window = range(max(place + 1, ideal - slack), min(len(text), ideal + slack + 1))
        near = [_nearest(cut, text, window, ideal) for cut in _CUTS]
        end = next((one for one in near if one is not None), max(place + 1, ideal))
        yield text[place:end]
        place = end
    yield text[place:]


def _nearest(cut: str, text: str, window: range, ideal: int) -> int | None:
    """The place in `window` nearest to `ideal` where the expression `cut` matches, behind the match."""
    found = [match.end() for match in re.compile(cut).finditer(text, window.start, window.stop)]
    return min((one for one in found if one in window), key=lambda one: abs(one - ideal), default=None)


def in_context(context: str, snippet: str) -> str:
    """A chunk's text behind what stands around it."""
    return f"{context}: {snippet}" if context else snippet
