"""A hit as people read it: its place and the lines of its snippet that answer the query, nothing that steers a terminal."""

import re
import unicodedata
from typing import Any

LINES, WIDTH = 3, 110
_WORD = re.compile(r"\w+(?:[.-]\w+)*")
_BOLD, _PLAIN = "\x1b[1m", "\x1b[0m"


def readable(hit: Any, query: str = "", *, context: int | None = None, marked: bool = False) -> str:
    """Rank, score, file and lines (a PDF's pages), then the lines of its snippet that hold most words of `query`.

    These are LINES lines, or with `context` the best one with as many before and after it. `marked` shows the query's
    words in bold.
    """
    from unbraid.index.store.bm25 import word_terms

    terms = word_terms(query)
    lines = [one for one in map(printable, hit.snippet.split("\n")) if one.strip()]
    shown = best_lines(lines, terms, LINES if context is None else 2 * context + 1)
    shown = [mark(line[:WIDTH], terms) if marked else line[:WIDTH] for line in shown]
    return "\n".join(
        [
            f"{hit.rank:3d}  {hit.score:.3f}  {printable(hit.place)}",
            *(f"            {line}" for line in shown),
        ]
    )


def best_lines(lines: list[str], terms: frozenset[str], count: int) -> list[str]:
    """`count` lines in a row, or all where there are fewer, around the line with most of `terms`; the first ones at a tie."""
    from unbraid.index.store.bm25 import word_terms

    held = [len(terms & word_terms(line)) for line in lines]
    best = held.index(max(held)) if any(held) else 0
    first = max(0, min(best - (count - 1) // 2, len(lines) - count))
    return lines[first : first + count]


def mark(line: str, terms: frozenset[str]) -> str:
    """The line with the words that share a term with `terms` in bold."""
    from unbraid.index.store.bm25 import word_terms

    def bold(found: re.Match[str]) -> str:
        return f"{_BOLD}{found[0]}{_PLAIN}" if terms & word_terms(found[0]) else found[0]

    return _WORD.sub(bold, line) if terms else line


def printable(text: str) -> str:
    """The text without what a terminal obeys or cannot show: control and bidirectional characters become "·".

    Tabs become spaces. Lone surrogates, as in names of files that are not UTF-8, are escaped.
    """
    text = text.expandtabs(4)
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(one) for one in text)


def _shown(one: str) -> str:
    category = unicodedata.category(one)
    if category == "Cs":
        return f"\\x{ord(one) - 0xDC00:02x}" if 0xDC80 <= ord(one) <= 0xDCFF else f"\\u{ord(one):04x}"
    if (
        category in ("Cc", "Zl", "Zp")
        or one in "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    ):
        return "·"
    return one
