"""A hit as people read it: its place, the lines of its snippet around the match, nothing that steers a terminal."""

from typing import Any

from unbraid.io.printable import printable

LINES, WIDTH = 3, 110
COPIES = 3  # that are named
ANSWERS = 8  # words of the query whose answers are named
_BOLD, _PLAIN = "\x1b[1m", "\x1b[0m"


def readable(hit: Any, query: str = "", *, context: int | None = None, marked: bool = False) -> str:
    """Rank, score, file and lines (a PDF's pages), what these are within, then the lines around the match of the hit.

    A file that is not there any more is marked so.

    These are LINES lines, or with `context` the best one with as many before and after it. `marked` shows the words of
    `query` in bold, and the match itself where it holds none. Then comes why it was found, where that was asked for, and copies
    of the text.
    """
    from unbraid.index.store.bm25 import word_terms

    terms = word_terms(query)
    raw = [one for one in hit.snippet.split("\n") if printable(one).strip()]
    best = next((number for number, line in enumerate(raw) if hit.match in line), 0)
    count = LINES if context is None else 2 * context + 1
    first = max(0, min(best - (count - 1) // 2, len(raw) - count))
    shown = [printable(line)[:WIDTH] for line in raw[first : first + count]]
    if shown:
        shown[best - first] = beginning_at(printable(raw[best]), printable(hit.match))
    if marked:
        shown = [mark(line, terms) for line in shown]
        if hit.match and not terms & word_terms(hit.match):
            shown[best - first] = f"{_BOLD}{shown[best - first]}{_PLAIN}"
    within = f"  in {printable(hit.within)}" if hit.within else ""
    gone = "" if hit.exists else "  (file not found)"
    lines = [f"{hit.rank:3d}  {hit.score:.3f}  {printable(hit.place)}{within[:WIDTH]}{gone}"]
    lines += (f"            {line}" for line in shown)
    if hit.why:
        pairs = ", ".join(f"{one.query} ← {one.passage} {one.cosine:.2f}" for one in hit.why[:ANSWERS])
        lines.append(f"            why: {printable(pairs)}")
    if hit.copies:
        named = ", ".join(map(str, hit.copies[:COPIES])) + ", …" * (len(hit.copies) > COPIES)
        copies = "1 copy" if len(hit.copies) == 1 else f"{len(hit.copies)} copies"
        lines.append(f"            {copies}: {printable(named)}"[: 12 + WIDTH])
    return "\n".join(lines)


def beginning_at(line: str, match: str) -> str:
    """At most WIDTH characters of the line: from its beginning, or from `match` where that would not be seen whole."""
    place = max(0, line.find(match))
    if place + len(match) <= WIDTH:
        return line[:WIDTH]
    return f"…{line[place : place + WIDTH - 1]}" if place else line[:WIDTH]


def mark(line: str, terms: frozenset[str]) -> str:
    """The line with the words that `terms` holds in bold; of a script without spaces, the characters of the query."""
    from unbraid.index.search.marks import mark_words

    for start, end in reversed(mark_words(line, terms)):
        line = f"{line[:start]}{_BOLD}{line[start:end]}{_PLAIN}{line[end:]}"
    return line
