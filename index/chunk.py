"""A text or code file in pieces the encoder can see whole, each with its lines.

Three steps: a file is split into sections (Markdown headings, Python definitions, otherwise the whole file), a
section that is too long into pieces at blank lines, and pieces too short to mean much are joined to the next.
"""

import ast
import itertools
import math
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

# Word pieces without the tokenizer: measured on 900-character windows of the standard library and of Markdown,
# all-MiniLM-L6-v2's own count is 0.90 to 0.98 of this one (median), 1.14 at the 99th percentile; a count of
# bytes is off by 1.9 there. 220 of these stay below the encoder's 256 with room for the context.
_PIECE = re.compile(r"[A-Za-z]{1,5}|[0-9]{1,3}|[^\sA-Za-z0-9]|\s{20}")
MAX_PIECES = 220
SMALL_PIECES = 60  # a chunk below this is joined to the next one
MAX_LINES = 40

MARKDOWN_SUFFIXES = frozenset({".md", ".markdown", ".mdx"})
PYTHON_SUFFIXES = frozenset({".py", ".pyi"})
_HEADING = re.compile(r" {0,3}(#{1,6})\s+(.*?)\s*#*\s*$")
_FENCE = re.compile(r" {0,3}(```|~~~)")


@dataclass(frozen=True)
class Chunk:
    """Lines `first_line` to `last_line` (from 1, inclusive) of a file; both None for a picture.

    `snippet` is those lines as they stand, or one piece of a single long line; `context` names the headings or
    the definitions around them, outermost first.
    """

    first_line: int | None
    last_line: int | None
    snippet: str
    context: tuple[str, ...] = ()

    @property
    def encoded(self) -> str:
        """What the encoder reads: the snippet behind its context."""
        return f"{' > '.join(self.context)}: {self.snippet}" if self.context else self.snippet


PICTURE = Chunk(None, None, "")


@dataclass(frozen=True)
class _Span:
    """Lines [first, end) from 0; `name` joins the context of every piece but the first, which shows it."""

    first: int
    end: int
    context: tuple[str, ...] = ()
    name: str = ""


class _Lines:
    """The lines of a file, with the word pieces of any run of them in constant time."""

    def __init__(self, text: str) -> None:
        self.lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        counts = (len(_PIECE.findall(line)) for line in self.lines)
        self._pieces = list(itertools.accumulate(counts, initial=0))

    def pieces(self, first: int, end: int) -> int:
        return self._pieces[end] - self._pieces[first]

    def fit(self, first: int, end: int) -> bool:
        return end - first <= MAX_LINES and self.pieces(first, end) <= MAX_PIECES

    def small(self, first: int, end: int) -> bool:
        return end - first <= MAX_LINES // 2 and self.pieces(first, end) < SMALL_PIECES

    def blank(self, number: int) -> bool:
        return not self.lines[number].strip()

    def text(self, first: int, end: int) -> str:
        return "\n".join(self.lines[first:end])


def chunk(text: str, suffix: str) -> list[Chunk]:
    """Chunks of a file's text, in order; together they hold every line that is not blank, and none is empty.

    `suffix` (".md", ".py", ...) picks how sections are found. Any text is accepted: a Python file that does not
    parse is split at blank lines.
    """
    source = _Lines(text)
    sections = [_Span(0, len(source.lines))]
    if suffix.lower() in MARKDOWN_SUFFIXES:
        sections = list(_markdown_sections(source.lines))
    elif suffix.lower() in PYTHON_SUFFIXES:
        sections = list(_python_sections(source))
    spans = itertools.chain.from_iterable(_split(section, source) for section in sections)
    return list(itertools.chain.from_iterable(_chunks(span, source) for span in _join_small(spans, source)))


def _markdown_sections(lines: list[str]) -> Iterator[_Span]:
    """One section per heading outside code fences, with the headings above it as context."""
    path: list[tuple[int, str]] = []  # (level, title) of the open headings
    starts: list[tuple[int, tuple[str, ...], str]] = [(0, (), "")]
    fence = ""
    for number, line in enumerate(lines):
        mark = _FENCE.match(line)
        if mark and fence in ("", mark[1]):
            fence = "" if fence else mark[1]
        heading = None if fence else _HEADING.match(line)
        if heading:
            level = len(heading[1])
            path = [entry for entry in path if entry[0] < level]
            starts.append((number, tuple(title for _, title in path), heading[2]))
            path.append((level, heading[2]))
    ends = [start[0] for start in starts[1:]] + [len(lines)]
    for (first, context, name), end in zip(starts, ends, strict=True):
        yield _Span(first, end, context, name)


def _python_sections(source: _Lines) -> Iterator[_Span]:
    """One section per top-level definition and per run of other statements; a long class gives one per method."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a stray "\d" is not for the person who indexes to fix
            body = ast.parse(source.text(0, len(source.lines))).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        body = []
    starts: dict[int, tuple[tuple[str, ...], str]] = {0: ((), "")}  # first line -> (context, name)
    after_definition = False
    for node in body:
        name = _definition(node)
        if name or after_definition:
            starts[_first_line(node, source.lines)] = ((), name)
        if isinstance(node, ast.ClassDef) and not source.fit(node.lineno - 1, node.end_lineno or node.lineno):
            for method in filter(_definition, node.body):
                starts[_first_line(method, source.lines)] = ((name,), _definition(method))
        after_definition = bool(name)
    firsts = sorted(starts)
    for first, end in zip(firsts, [*firsts[1:], len(source.lines)], strict=True):
        yield _Span(first, end, *starts[first])


def _definition(node: ast.stmt) -> str:
    """`class Name` or `def name` of a definition, empty for any other statement."""
    if isinstance(node, ast.ClassDef):
        return f"class {node.name}"
    return f"def {node.name}" if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else ""


def _first_line(node: ast.stmt, lines: list[str]) -> int:
    """First line, from 0, of a statement with its decorators and the comments directly above."""
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(expression.lineno for expression in decorators)]) - 1
    while first > 0 and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    return first


def _split(section: _Span, source: _Lines) -> Iterator[_Span]:
    """The section itself when it fits, otherwise parts of it, cut at blank lines or, failing that, at any line."""
    if source.fit(section.first, section.end):
        yield section
        return
    starts = [n for n in range(section.first + 1, section.end) if source.blank(n - 1) and not source.blank(n)]
    context, name = section.context, section.name
    for first, end in _pack(itertools.pairwise([section.first, *starts, section.end]), source):
        yield _Span(first, end, context, name)
        context, name = _below(context, name), ""


def _pack(
    blocks: Iterable[tuple[int, int]], source: _Lines, by_line: bool = False
) -> Iterator[tuple[int, int]]:
    """Neighbouring blocks together as long as they fit; a block that does not fit alone is packed by lines.

    A small block is never left alone: a heading goes with the first lines of what follows, even when that is one
    line too long to fit, which `_chunks` then cuts.
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


def _join_small(spans: Iterable[_Span], source: _Lines) -> Iterator[_Span]:
    """Spans with each small one joined to the next where both fit: imports to a function, a title to its text."""
    held: _Span | None = None
    for span in spans:
        if held:
            if source.small(held.first, held.end) and source.fit(held.first, span.end):
                span = _Span(held.first, span.end, _shared(held.context, span.context))
            else:
                yield held
        held = span
    if held:
        yield held


def _below(context: tuple[str, ...], name: str) -> tuple[str, ...]:
    return (*context, name) if name else context


def _shared(a: tuple[str, ...], b: tuple[str, ...]) -> tuple[str, ...]:
    """The names two contexts begin with alike."""
    pairs = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False))
    return tuple(name for name, _ in pairs)


def _chunks(span: _Span, source: _Lines) -> Iterator[Chunk]:
    """The span without the blank lines around it as one chunk; several where it holds a line too long to fit."""
    filled = [n for n in range(span.first, span.end) if not source.blank(n)]
    if not filled:
        return
    first, end = filled[0], filled[-1] + 1
    text, context = source.text(first, end), span.context
    if source.pieces(first, end) <= MAX_PIECES:
        yield Chunk(first + 1, end, text, context)
        return
    line = first + 1
    for part in _cut(text):
        line += part[: len(part) - len(part.lstrip())].count("\n")
        snippet = part.strip()
        if snippet:
            yield Chunk(line, line + snippet.count("\n"), snippet, context)
            context = _below(span.context, span.name)
        line += part.lstrip().count("\n")


def _cut(text: str) -> Iterator[str]:
    """Equal parts of `text` of at most MAX_PIECES each, never cut inside a word of five letters or fewer."""
    starts = [match.start() for match in _PIECE.finditer(text)]
    parts = math.ceil(len(starts) / MAX_PIECES)
    size = math.ceil(len(starts) / parts)
    for first, end in itertools.pairwise([0, *starts[size::size], len(text)]):
        yield text[first:end]
