"""Answers within a number of tokens: the best hits whole, further ones by the line that matches, the rest counted.

Tokens are those of the bundle's own tokenizer. An answer is sent as text and as JSON, and a client may give its model
either, so the longer of the two counts.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydantic import BaseModel

from unbraid.mcp.answers import QUOTED, FoundHit, FoundHits, hit_text, hits_text

LINE = 240  # characters of the one line that the shortest form of a hit shows
NOTE = 60  # tokens kept free for the note of an answer

CountTokens = Callable[[Sequence[str]], Sequence[int]]


@dataclass(frozen=True)
class Shown:
    """A hit as it is sent, its place in words, and the line of its text that answers best."""

    hit: FoundHit
    place: str
    match: str


def size(answer: BaseModel, text: str, count: CountTokens) -> int:
    """Tokens of an answer: of its text or of its JSON, whichever is more."""
    return max(count([text, answer.model_dump_json(exclude_defaults=True)]))


def fit_hits(
    folder: str, found: Sequence[Shown], note: str, most: int, count: CountTokens
) -> tuple[FoundHits, str]:
    """The hits that fit into `most` tokens, as answer and as text; cut or left out where they do not, which `note` says.

    Every hit gets its shortest form first, as far down as fits; then the best ones get as many of their lines as fit.
    """
    short = [shortened(one, 1) for one in found]
    room = most - NOTE - size(FoundHits(folder=folder, hits=[], note=note), f"{folder}{note}", count)
    shown: list[Shown] = []
    for one in short:
        room -= _cost(one, count)
        if room < 0:
            break
        shown.append(one)
    room = max(0, room)
    for place, one in enumerate(shown):
        whole, spent = found[place], _cost(one, count)
        shown[place] = _longest(whole, room + spent, count) or one
        room -= _cost(shown[place], count) - spent
    while True:
        answer, text = _answer(folder, shown, len(found) - len(shown), note)
        if not shown or size(answer, text, count) <= most:
            return answer, text
        last = shortened(shown[-1], 1)
        shown = [*shown[:-1], last] if last != shown[-1] else shown[:-1]


def shortened(one: Shown, lines: int) -> Shown:
    """The hit with `lines` lines of its text, around the one that matches; with one, at most LINE characters of it."""
    text = one.hit.text.split("\n")
    best = next((number for number, line in enumerate(text) if one.match in line), 0)
    first = max(0, min(best - (lines - 1) // 2, len(text) - lines))
    kept = "\n".join(text[first : first + lines])
    if lines == 1 and len(kept) > LINE:
        start = min(max(0, kept.find(one.match)), len(kept) - LINE)
        kept = kept[start : start + LINE]
    if kept == one.hit.text:
        return one
    return Shown(one.hit.model_copy(update={"text": kept, "cut": True}), one.place, one.match)


def _longest(one: Shown, room: int, count: CountTokens) -> Shown | None:
    """The hit with as many lines as fit into `room` tokens; None where not even two do."""
    if _cost(one, count) <= room:
        return one
    fits, too_many = 1, one.hit.text.count("\n") + 1
    while too_many - fits > 1:
        lines = (fits + too_many) // 2
        if _cost(shortened(one, lines), count) <= room:
            fits = lines
        else:
            too_many = lines
    return shortened(one, fits) if fits > 1 else None


def _cost(one: Shown, count: CountTokens) -> int:
    """Tokens of one hit among others."""
    return size(one.hit, hit_text(one.hit, one.place, 10), count)


def _answer(folder: str, shown: Sequence[Shown], left_out: int, note: str) -> tuple[FoundHits, str]:
    cut = sum(one.hit.cut for one in shown)
    notes = [note] if note else []
    if cut:
        notes.append(f"{cut} cut: read_hit shows all lines of a place.")
    if left_out:
        notes.append(f"{left_out} more left out: raise max_tokens, or narrow the search.")
    answer = FoundHits(
        folder=folder, hits=[one.hit for one in shown], left_out=left_out, note=" ".join(notes)
    )
    return answer, hits_text(answer, [one.place for one in shown])


def fit_lines(lines: Sequence[str], first: int, last: int, most: int, count: CountTokens) -> tuple[int, int]:
    """Which of `lines` fit into `most` tokens: the position of the first, and of the one after the last.

    Those from `first` to before `last` come first; where they all fit, as many around them as do.
    """
    forms = [f"{QUOTED}{line}" for line in lines], [json.dumps(f"\n{line}") for line in lines]
    costs = [max(both) for both in zip(*map(count, forms), strict=True)]
    start, end, room = first, first, most
    while end < last and costs[end] <= room:
        room -= costs[end]
        end += 1
    grew = end == last
    while grew:
        grew = False
        if start > 0 and costs[start - 1] <= room:
            start, grew = start - 1, True
            room -= costs[start]
        if end < len(lines) and costs[end] <= room:
            room -= costs[end]
            end, grew = end + 1, True
    return start, end
