"""Tables: each row with the names of its columns, as a question names them (`city: London, born: 1815`)."""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from unbraid.index.files.chunk import Lines, Section

CSV_SUFFIXES = frozenset({".csv", ".tsv", ".tab"})
ROW_SUFFIXES = frozenset({".jsonl", ".ndjson"})  # a line is a row
_DELIMITERS = ",;\t|"
_SAMPLE = 20  # rows that tell the delimiter
MOST_APART = 1000  # rows that are chunks of their own; of a longer table as many are together as fit
MOST_GROWTH = 3  # a table that names would make so many times as long has its names around each chunk instead
_MAX_NAME = 60
_VALUE = re.compile(r"[-+]?[\d.,:/%€$£ -]*\d[\d.,:/%€$£ -]*")  # a number, a date, a sum: no name of a column


def read_csv(source: Lines, suffix: str) -> tuple[Lines, list[Section]]:
    """The rows of a CSV or TSV file, each with its place, behind the names in its first row where it has such.

    Without such names the rows are lines; what is no table stays as it is. Never raises.
    """
    whole = source, [Section(0, len(source.lines))]
    delimiter = "\t" if suffix in (".tsv", ".tab") else _delimiter(source.lines)
    reader = csv.reader(
        (f"{line}\n" for line in source.lines),
        delimiter=delimiter,
        quoting=csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL,
    )
    rows: list[tuple[int, list[str]]] = []
    first = 1
    try:
        for row in reader:
            rows.append((first, row))
            first = reader.line_num + 1
    except csv.Error:  # a cell of over 128 KB, as after a quote that is never closed
        return whole
    last = rows[-1][0] if rows else 1
    if reader.line_num > last and "".join(source.lines[last - 1 :]).count('"') % 2:
        return whole  # a quote that is never closed has taken all lines behind it
    if len(rows) > 1 and is_header(rows[0][1]):
        return named_rows(rows)
    return (source, apart(len(source.lines))) if rows and len(rows[0][1]) > 1 else whole


def apart(count: int, first: int = 0, context: tuple[str, ...] = ()) -> list[Section]:
    """A section for each of `count` rows from line `first`; one for all of them where they are many."""
    if count > MOST_APART:
        return [Section(first, first + count, context)]
    return [Section(n, n + 1, context, alone=True) for n in range(first, first + count)]


def is_header(row: Sequence[str]) -> bool:
    """Whether a first row names its columns: two or more names, each once, none a number."""
    names = [_words(cell) for cell in row]
    while names and not names[-1]:
        names.pop()
    return (
        len(names) > 1
        and len(set(names)) == len(names)
        and all(name and len(name) <= 2 * _MAX_NAME and not _VALUE.fullmatch(name) for name in names)
    )


def named_rows(rows: Iterable[tuple[int, Sequence[str]]]) -> tuple[Lines, list[Section]]:
    """The rows (number, cells) as lines with the names of their columns, which the first row gives.

    Empty cells are left out. Where the names would make the table much longer, they are the context. Up to MOST_APART rows
    are sections of their own: of rows that share a chunk a search finds one in five.
    """
    (number, header), *rest = rows
    names = [_words(cell)[:_MAX_NAME] for cell in header]
    title = ", ".join(filter(None, names))
    numbers, lines, plain = [number], [title], [title]
    for number, row in rest:
        cells = [_words(cell) for cell in row]
        named = [
            f"{name}: {cell}" if name else cell for name, cell in zip(names, cells, strict=False) if cell
        ]
        named += filter(None, cells[len(names) :])
        if named:
            numbers.append(number)
            lines.append(", ".join(named))
            plain.append(", ".join(filter(None, cells)))
    long = sum(map(len, lines)) > MOST_GROWTH * sum(map(len, plain))
    sections = [Section(0, 1, alone=True), *apart(len(lines) - 1, 1, (title,) if long else ())]
    return Lines(plain if long else lines, numbers), sections


def _words(cell: str) -> str:
    return " ".join(cell.replace("\0", " ").split())


def _delimiter(lines: Sequence[str]) -> str:
    """The sign that most rows of the beginning have equally often, of those in _DELIMITERS."""
    sample = [line for line in lines[: 4 * _SAMPLE] if line.strip()][:_SAMPLE]

    def fits(sign: str) -> tuple[int, int]:
        counts = Counter(line.count(sign) for line in sample)
        counts.pop(0, None)
        count, rows = counts.most_common(1)[0] if counts else (0, 0)
        return rows, count

    return max(_DELIMITERS, key=fits)
