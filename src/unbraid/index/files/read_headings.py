"""Headings of Org, reStructuredText and LaTeX: (line from 0, level from 1, title) of each, as Markdown's are given."""

import re
from collections.abc import Callable, Iterator
from typing import TypeAlias

Heading: TypeAlias = tuple[int, int, str]

_ORG = re.compile(r"(\*+)[ \t]+(.*)")
_ORG_BLOCK = re.compile(r"[ \t]*#\+(begin|end)_", re.IGNORECASE)
_ORG_MARKS = re.compile(r"^(?:(?:TODO|DONE|NEXT|WAITING)\s+)?(?:\[#[A-Z0-9]\]\s+)?|(?:\s+:[\w@#%:]+:)?\s*$")
_ADORNMENT = re.compile(r"([!-/:-@[-`{-~])\1*[ \t]*")
_LATEX = re.compile(
    r"[^%\\]*\\(part|chapter|section|subsection|subsubsection|paragraph)\*?[ \t]*(?:\[[^\]]*\])?\{"
)
_LATEX_LEVELS = {
    name: level
    for level, name in enumerate("part chapter section subsection subsubsection paragraph".split(), 1)
}
_LATEX_MARKS = re.compile(r"\\[A-Za-z]+\*?[ \t]*|[{}~$]")
_MAX_TITLE = 1000  # characters


def org_headings(lines: list[str]) -> Iterator[Heading]:
    """Headings of an Org file, without their keyword, priority and tags; a line of a block is none."""
    within = False
    for number, line in enumerate(lines):
        if block := _ORG_BLOCK.match(line):
            within = block[1].lower() == "begin"
        elif not within and (found := _ORG.match(line)):
            yield number, len(found[1]), _ORG_MARKS.sub("", found[2][:_MAX_TITLE]).strip()


def rst_headings(lines: list[str]) -> Iterator[Heading]:
    """Titles of a reStructuredText file. Their level is the order in which their kind of line first comes."""
    kinds: list[tuple[str, bool]] = []
    number = 1
    while number < len(lines):
        title = lines[number - 1].strip()
        under = _adornment(lines[number])
        if not under or not title or _adornment(title):
            number += 1
            continue
        over = _adornment(lines[number - 2]) if number > 1 else ""
        overlined = over[:1] == under[0] and len(over) >= 3
        first = number - 2 if overlined else number - 1
        above = lines[first - 1].strip() if first else ""
        indented = lines[number - 1][0].isspace() and not overlined
        long_enough = len(under) >= min(len(title), 4)
        if not above and long_enough and not indented:
            kind = under[0], overlined
            if kind not in kinds:
                kinds.append(kind)
            yield first, kinds.index(kind) + 1, title[:_MAX_TITLE]
            number += 1
        number += 1


def _adornment(line: str) -> str:
    """A line of one sign again and again, without its end; empty for any other."""
    return line.rstrip() if _ADORNMENT.fullmatch(line) else ""


def latex_headings(lines: list[str]) -> Iterator[Heading]:
    """The parts, chapters and sections of a LaTeX file, without the commands in their titles."""
    for number, line in enumerate(lines):
        if "\\" in line and (found := _LATEX.match(line)):
            title = _braced(line[found.end() : found.end() + _MAX_TITLE])
            if title := " ".join(_LATEX_MARKS.sub("", title).split()):
                yield number, _LATEX_LEVELS[found[1]], title


def _braced(text: str) -> str:
    """What stands before the brace that closes one before `text`; all of it where none does."""
    depth = 1
    for place, character in enumerate(text):
        depth += (character == "{") - (character == "}")
        if not depth:
            return text[:place]
    return text


HEADINGS: dict[str, Callable[[list[str]], Iterator[Heading]]] = {
    ".org": org_headings,
    ".rst": rst_headings,
    ".tex": latex_headings,
    ".ltx": latex_headings,
}
