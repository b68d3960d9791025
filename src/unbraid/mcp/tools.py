"""What the tools do, without the protocol: each returns its answer as a structure and as text.

Everything that comes from a file passes `_clean`: no control character reaches the client.
"""

import posixpath
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from unbraid.errors import ItemError
from unbraid.index import Hit
from unbraid.index.files.chunk import CHARACTERS_OF_TOKEN, limit_of
from unbraid.index.search.hit import Place
from unbraid.index.search.relevance import FLOOR
from unbraid.index.store.entry import Entry, FileState
from unbraid.io.printable import printable, without_controls
from unbraid.items import Code
from unbraid.mcp.answers import (
    FoundHit,
    FoundHits,
    IndexedFolder,
    IndexStatus,
    ReadLines,
    SearchMode,
    lines_text,
    status_text,
)
from unbraid.mcp.budget import CountTokens, Shown, fit_hits, fit_lines, size
from unbraid.mcp.paths import Paths
from unbraid.mcp.shared_index import OpenIndex, SharedIndex
from unbraid.mcp.stored_place import PlaceText, chunk_at, of_unit, text_at
from unbraid.mix import Query

HEAD = 40  # tokens kept free for the line above the text, and the note
WITHIN = 110  # characters of the headings around a hit
LONGEST_NOTE = 300  # characters
COPIES = 5  # places with the same text that are sent
MORE = 4  # hits asked for beyond those wanted, since the place itself and its copies are no hits
FOLDERS, FIELDS, VALUES, VALUE = 20, 20, 5, 40  # that status names, and characters of a value
NOTHING = "Nothing found: no chunk passes the filters or holds the quoted phrase. status says what there is."


@dataclass(frozen=True)
class Filters:
    """What hits must be, as the arguments of a tool say it."""

    paths: Sequence[str] = ()
    languages: Sequence[str] = ()
    modality: str | None = None
    where: Sequence[str] = ()
    min_score: float | None = None

    def options(self, paths: Paths) -> dict[str, Any]:
        """The options of `Index.search`."""
        return {
            "path": paths.as_filter(self.paths),
            "language": list(self.languages) or None,
            "modality": self.modality,
            "where": list(self.where),
            "min_score": self.min_score or 0.0,
        }


def search(
    shared: SharedIndex, query: str, mode: str, is_code: bool, k: int, filters: Filters, max_tokens: int
) -> tuple[FoundHits, str]:
    """The best hits of a query of words or code. Raises UnbraidError for what means nothing."""
    if not query.strip():
        raise ItemError("the query is blank: give it words or code")
    asked: Query = Code(query) if is_code else query
    with shared.use() as opened:
        hits = opened.index.search(asked, mode=mode, k=k, **filters.options(opened.paths))
        return _found(opened, hits, filters.min_score, "", max_tokens)


def find_related(
    shared: SharedIndex, given: str, line: int | None, mode: str, k: int, filters: Filters, max_tokens: int
) -> tuple[FoundHits, str]:
    """The best hits of the base vector that is stored for a place, without that place. No query is encoded."""
    with shared.use() as opened:
        path, unit, first, _ = opened.paths.find_place(given)
        entries, vectors = opened.index.store.file(path)
        if not entries:
            raise _damaged(given)
        there = of_unit(entries, unit, line or first)
        chunk = there[chunk_at(there, line or first)]
        position = entries.index(chunk)
        options = {**filters.options(opened.paths), "min_score": 0.0}
        (hits,) = opened.index.search_vectors(vectors[[position]], mode=mode, k=k + MORE, **options)
        # A hit with the place among its copies is one, too: of equal texts, any may come first.
        places = [[Place(hit.path, hit.first_line, hit.last_line, hit.unit), *hit.copies] for hit in hits]
        own = [any(_holds(one, chunk) for one in some) for some in places]
        # Probabilities are fitted on queries, so the cosine is the score here.
        least = filters.min_score if filters.min_score is not None else -1.0
        others = [
            replace(hit, score=hit.cosine or 0.0)
            for hit, is_own in zip(hits, own, strict=True)
            if not is_own and (hit.cosine or 0.0) >= least
        ][:k]
        copies = [one for some, is_own in zip(places, own, strict=True) if is_own for one in some]
        same = [_place(opened.paths, one) for one in copies if not _holds(one, chunk)]
        place = _place(opened.paths, Place(path, chunk.first_line, chunk.last_line, chunk.unit))
        note = f"Related to {place}." + (f" The same text: {_named(same)}." if same else "")
        # What is nearest was asked for, however far that is.
        return _found(opened, others, filters.min_score or 0.0, note[:LONGEST_NOTE], max_tokens)


def read_hit(
    shared: SharedIndex, given: str, first: int | None, last: int | None, context: int, max_tokens: int
) -> tuple[ReadLines, str]:
    """The lines `first` to `last` of a file and `context` around them, or the file from its beginning."""
    with shared.use() as opened:
        path, unit, given_first, given_last = opened.paths.find_place(given)
        if first is None:
            first, last = given_first, last or given_last
        if first is not None and last is not None and last < first:
            raise ItemError(f"last_line {last} comes before first_line {first}")
        entries = _newest(opened.index.entries(path))
        if not entries:
            raise _damaged(given)
        found = text_at(of_unit(entries, unit, first), first, last, context)
        count = _counter(opened)
        room = max_tokens - HEAD
        while True:
            answer, text = lines_within(opened.paths, path, found, room, count)
            over = size(answer, text, count) - max_tokens
            if over <= 0 or room <= 0:
                return answer, text
            room -= over


def lines_within(
    paths: Paths, path: str, found: PlaceText, room: int, count: CountTokens
) -> tuple[ReadLines, str]:
    """As many lines of a place as fit into `room` tokens; of a line that is longer than that, its beginning."""
    # A line has at least one token, and a token at most so many characters: what lies beyond cannot fit.
    most = max(1, room)
    low = max(0, found.core[0] - most)
    near = found.lines[low : found.core[0] + most + 1]
    lines = [_clean(line[: most * CHARACTERS_OF_TOKEN + CHARACTERS_OF_TOKEN]) for line in near]
    core = found.core[0] - low, min(found.core[1] - low, len(lines))
    begin, end = fit_lines(lines, *core, room, count)
    shown, first, last, note = lines[begin:end], found.first_line, found.last_line, found.note
    cut = end - begin < len(found.lines)
    if not shown and lines:
        shown, end = [lines[begin][: most // 2]], begin + 1
    begin, end = begin + low, end + low
    if found.total is not None and first is not None:
        first, last = first + begin, first + end - 1
    if cut:
        on = f": first_line={last + 1} goes on" if found.total and last and end < len(found.lines) else ""
        note = f"{note} Cut to max_tokens{on}.".strip()
    answer = ReadLines(
        folder=printable(paths.folder),
        path=paths.shown(path),
        first_line=first,
        last_line=last,
        unit=printable(found.unit),
        total_lines=found.total,
        text="\n".join(shown),
        note=note,
    )
    return answer, lines_text(answer, _place(paths, Place(path, first, last, found.unit)))


def status(shared: SharedIndex, modes: Mapping[str, str]) -> tuple[IndexStatus, str]:
    """What the index holds. No model is loaded."""
    with shared.use() as opened:
        index, stats = opened.index, opened.index.stats()
        files = index.store.files()
        answer = IndexStatus(
            index=printable(index.place),
            folder=printable(opened.paths.folder),
            folders=_folders(opened.paths, files),
            files=stats.files,
            incomplete=stats.incomplete,
            chunks=stats.chunks,
            languages=_most_first(stats.languages),
            text_languages=_most_first(stats.text_languages),
            fields=_fields(files),
            model=index.meta.provenance.bundle or f"base {index.meta.base_id}",
            modes=[SearchMode(name=name, meaning=meaning) for name, meaning in modes.items()],
            size_mb=None if stats.bytes is None else round(stats.bytes / 1e6, 1),
        )
    return answer, status_text(answer)


def _found(
    opened: OpenIndex, hits: Sequence[Hit], min_score: float | None, note: str, max_tokens: int
) -> tuple[FoundHits, str]:
    """The answer of hits; none of them where even the best is hardly relevant and no score was asked for."""
    notes = [note] if note else []
    best = max((hit.score for hit in hits), default=0.0)
    if not hits:
        notes.append(NOTHING if not min_score else f"Nothing found with a score of {min_score} or more.")
    elif min_score is None and best < FLOOR:
        hits = []
        notes.append(
            f"Nothing relevant: the best hit has a score of {best:.3f}. min_score=0 shows what is nearest."
        )
    shown = [_shown(opened.paths, hit) for hit in hits]
    folder = printable(opened.paths.folder)
    return fit_hits(folder, shown, " ".join(notes), max_tokens, _counter(opened))


def _counter(opened: OpenIndex) -> CountTokens:
    """Counts tokens as indexing does: a long word that no tokenizer knows is more than one."""
    return limit_of(opened.index.model).sizes


def _shown(paths: Paths, hit: Hit) -> Shown:
    found = FoundHit(
        path=paths.shown(hit.path),
        first_line=hit.first_line,
        last_line=hit.last_line,
        unit=printable(hit.unit),
        score=round(hit.score, 3),
        modality=hit.modality,
        within=printable(hit.within)[:WITHIN],
        text=_clean(hit.snippet),
        copies=[_place(paths, copy) for copy in hit.copies[:COPIES]],
    )
    return Shown(found, _place(paths, hit), _clean(hit.match))


def _place(paths: Paths, of: Hit | Place) -> str:
    """A place in words, as the command line shows it, but with the path as the client gets it."""
    path = str(Place(of.path, None, None))
    place = of.place if isinstance(of, Hit) else str(of)
    return paths.shown(of.path) + printable(place.removeprefix(path))


def _named(places: Sequence[str]) -> str:
    return ", ".join(places[:COPIES]) + ", …" * (len(places) > COPIES)


def _holds(place: Place, chunk: Entry) -> bool:
    """Whether this chunk lies, at least in part, in a place."""
    if (place.path, place.unit) != (chunk.path, chunk.unit):
        return False
    if None in (place.first_line, place.last_line, chunk.first_line, chunk.last_line):
        return True
    return place.first_line <= chunk.last_line and chunk.first_line <= place.last_line  # type: ignore[operator]


def _newest(entries: Sequence[Entry]) -> list[Entry]:
    """The chunks of the newest content; an interrupted run leaves some of an older one beside them."""
    newest = max((one.mtime_ns for one in entries), default=0)
    return [one for one in entries if one.mtime_ns == newest]


def _damaged(given: str) -> ItemError:
    return ItemError(
        f"the index holds nothing readable of {given!r}: unbraid index verify says what is damaged"
    )


def _clean(text: str) -> str:
    return without_controls(text, keep="\n\t")


def _folders(paths: Paths, files: Mapping[str, FileState]) -> list[IndexedFolder]:
    """The folders below the common one with most files; what lies in it directly counts as "."."""
    top = paths.folder.rstrip("/") + "/"
    counts: Counter[str] = Counter()
    for path in files:
        below = path.removeprefix(top)
        counts[posixpath.dirname(below).split("/")[0] or "."] += 1
    return [IndexedFolder(path=printable(path), files=count) for path, count in counts.most_common(FOLDERS)]


def _fields(files: Mapping[str, FileState]) -> dict[str, list[str]]:
    """The fields of files that most have, and some of their values."""
    counts = Counter(name for state in files.values() for name in state.fields)
    found: dict[str, dict[str, None]] = {name: {} for name, _ in counts.most_common(FIELDS)}
    for state in files.values():
        for name, value in state.fields.items():
            if name in found and len(found[name]) < VALUES:
                for one in value if isinstance(value, list) else [value]:
                    found[name][printable(str(one))[:VALUE]] = None
    return {printable(name): list(values)[:VALUES] for name, values in found.items()}


def _most_first(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda one: -one[1]))
