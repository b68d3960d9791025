"""The size and the modification time of a file as fields of a condition: "size<100kB", "modified>=2026-10-01".

A field of the same name that files have of their own, by front matter or as it was given, goes before these.
"""

from datetime import datetime, timedelta

from unbraid.errors import ItemError
from unbraid.sizes import read_size

KEYS = {"size": "size", "modified": "mtime_ns"}  # name of the field -> key in a payload, whole numbers
SECOND = 10**9  # in nanoseconds


def bounds(name: str, compare: str, value: str) -> tuple[int | None, int | None]:
    """The least value that passes a condition other than "!=", and the first above it that does not; None for no limit.

    A year, month or day is all of it, in local time: "modified<=2026-10" takes October in. Raises ItemError for a value
    that is no size or date.
    """
    first, after = _size(value) if name == "size" else _time(value)
    return {
        "=": (first, after),
        ">=": (first, None),
        ">": (after, None),
        "<": (None, first),
        "<=": (None, after),
    }[compare]


def _size(value: str) -> tuple[int, int]:
    size = read_size(value)
    if size is None:
        raise ItemError(f"size: {value!r} is no size: expected such as 500, 100kB or 2MB")
    return size, size + 1


def _time(value: str) -> tuple[int, int]:
    """The beginning and the end, in nanoseconds since 1970, of the year, month, day or second that is written."""
    parts = value.split("-")
    try:
        whole = "-".join([*parts, *("01",) * (3 - len(parts))])
        start = datetime.fromisoformat(whole)
        if len(parts) == 1:
            end = start.replace(year=start.year + 1)
        elif len(parts) == 2:
            end = (start + timedelta(days=31)).replace(day=1)
        else:
            end = start + (timedelta(days=1) if len(whole) == 10 else timedelta(seconds=1))
        return int(start.timestamp()) * SECOND, int(end.timestamp()) * SECOND
    except (ValueError, OverflowError, OSError):
        raise ItemError(
            f"modified: {value!r} is no date: expected such as 2026, 2026-10 or 2026-10-01"
        ) from None
