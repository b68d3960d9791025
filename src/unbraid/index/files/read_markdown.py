"""Markdown by heading."""

import re
from collections.abc import Iterator

MARKDOWN_SUFFIXES = frozenset({".md", ".markdown", ".mdx"})
_HEADING = re.compile(r" {0,3}(#{1,6})\s+(.*?)\s*#*\s*$")
_FENCE = re.compile(r" {0,3}(```|~~~)")


def markdown_headings(lines: list[str]) -> Iterator[tuple[int, int, str]]:
    """(line from 0, level, title) of each heading outside code fences."""
    fence = ""
    for number, line in enumerate(lines):
        mark = _FENCE.match(line)
        if mark and fence in ("", mark[1]):
            fence = "" if fence else mark[1]
        heading = None if fence else _HEADING.match(line)
        if heading:
            yield number, len(heading[1]), heading[2]
