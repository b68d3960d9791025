"""What a run does now, in a file of the index's folder: other processes tell it to whoever asks for the status."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from unbraid.io.lock import WRITE, Holder, is_held, read_holder
from unbraid.progress import duration

FILE = "progress.json"
EVERY = 1.0  # seconds between two writes
FEW = 30  # steps, of which nobody is told: they are done before anyone asks


class UnderWay(msgspec.Struct, frozen=True):
    """How far a run is."""

    what: str  # "indexing", "reading words"
    unit: str  # of `done` and `total`: "files", "pictures"
    done: int
    total: int
    seconds: float  # since the first of them

    @property
    def rate(self) -> float | None:
        """Units a second; None as long as none is done."""
        return self.done / self.seconds if self.done and self.seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """About how long it will take."""
        return (self.total - self.done) / self.rate if self.rate else None

    def __str__(self) -> str:
        """One line: "indexing: 5,120 of 20,000 files, 98.0/s, 0:02:32 left"."""
        share = f"{self.what}: {self.done:,} of {self.total:,} {self.unit}"
        if self.rate is None or self.seconds_left is None:
            return share
        return f"{share}, {self.rate:,.1f}/s, {duration(self.seconds_left)} left"

    def facts(self) -> dict[str, Any]:
        """All of it by name."""
        return {**msgspec.structs.asdict(self), "rate": self.rate, "seconds_left": self.seconds_left}


class _Note(msgspec.Struct, frozen=True):
    writer: Holder | None  # as the lock's own note names it
    run: UnderWay


@contextmanager
def telling(folder: Path | None, what: str, unit: str, total: int) -> Iterator[Callable[[int], None]]:
    """A function that takes how many more of `total` units are done, and notes it in `folder`, if that is given.

    The note is there while the block runs. It only helps: where it cannot be written, nobody is told.
    """
    if folder is None or total < FEW:
        yield lambda count: None
        return
    path = folder / FILE
    started = time.monotonic()
    written, done = 0.0, 0
    writer = read_holder(folder, WRITE)

    def write() -> None:
        nonlocal written
        written = time.monotonic()
        unfinished = path.with_suffix(".new")
        with suppress(OSError):
            about = UnderWay(what, unit, done, total, round(time.monotonic() - started, 1))
            unfinished.write_bytes(msgspec.json.encode(_Note(writer, about)))
            os.replace(unfinished, path)  # not synced: after a power cut it means nothing

    def tell(count: int) -> None:
        nonlocal done
        done += count
        if time.monotonic() - written >= EVERY:
            write()

    write()
    try:
        yield tell
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def under_way(folder: Path) -> UnderWay | None:
    """What the process that writes the index in `folder` does now, if it will take long; None where none does.

    The note of a killed process is not believed: nobody holds its lock, or somebody else.
    """
    try:
        found = msgspec.json.decode((folder / FILE).read_bytes(), type=_Note)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    same = found.writer == read_holder(folder, WRITE)
    return found.run if same and is_held(folder, WRITE) else None
