"""Task vectors of a whole index in a file, for who wants them outside: base vectors go through a mapper as a stream."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from unbraid.embedder import Embedder
from unbraid.errors import DataError
from unbraid.index.protocol import Vectors
from unbraid.index.store.folder_store import Store
from unbraid.index.transfer.task_vector_file import Row, row_of, task_file
from unbraid.io.vector_file import provenance
from unbraid.vectors import Numbers

BLOCK = 4_000  # items held, mapped and written at a time: 8 MB of base vectors
SAMPLE, PARTS = 2_000, 4  # items that the estimate maps and writes, and in how many steps
ROOM = 16 * 1024**2  # bytes to be left over, and one part in ten of the estimate


@dataclass(frozen=True)
class Form:
    """What is to be made of each base vector: task, length, stored numbers."""

    task: str
    dim: int
    numbers: Numbers = "float32"


@dataclass(frozen=True)
class Estimate:
    """What a file will take: items, seconds of work and bytes, from a sample that was mapped and written."""

    items: int
    seconds: float
    bytes: int
    free: int  # bytes of its disk


@dataclass
class Written:
    """What is in the file, and how many items are not because they are damaged."""

    items: int = 0
    damaged: int = 0


def estimate(store: Store, model: Embedder, form: Form, out: Path) -> Estimate:
    """What `materialise` will take, told by its first items. Raises what it would raise for them."""
    total = store.count()
    model.map(np.zeros((1, model.dim), np.float32), form.task)  # opens the mapper's graph, outside the clock
    moments: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        blocks = islice(_blocks(store, SAMPLE // PARTS), PARTS)
        trial = Path(folder) / f"sample{out.suffix}"
        done = _write(blocks, model, form, trial, lambda count: moments.append(time.perf_counter()))
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
    share = total / max(1, done.items)
    # From the first part to the last: opening the index and the file are no part of the rate.
    seconds = (moments[-1] - moments[0]) * len(moments) / (len(moments) - 1) if len(moments) > 1 else 0.0
    free = shutil.disk_usage(out.absolute().parent).free
    return Estimate(total, seconds * share, round(size * share), free)


def require_room(about: Estimate, out: Path) -> None:
    """Raise DataError when `out` may not fit on its disk; the file that it replaces counts until it is replaced."""
    needed = about.bytes + about.bytes // 10 + ROOM
    if about.free < needed:
        raise DataError(
            f"{out}: its disk has {about.free / 1e6:,.0f} MB left and this may need {needed / 1e6:,.0f}: nothing was "
            "written; make room, or store less with --dim or --numbers"
        )


def materialise(store: Store, model: Embedder, form: Form, out: Path, say: Callable[[int], None]) -> Written:
    """Write the task vector of every sound item of `store` to `out`, by its suffix; `say` hears of items done.

    The file is there whole or not at all. Needs memory for some thousand items, however many there are. Raises
    DataError when it cannot be written, ItemError for a task, dim or numbers that the model does not have.
    """
    return _write(_blocks(store, BLOCK), model, form, out, say)


def _write(
    blocks: Iterator[tuple[list[Row], Vectors, int]],
    model: Embedder,
    form: Form,
    out: Path,
    say: Callable[[int], None],
) -> Written:
    empty = np.empty((0, model.dim), np.float32)
    shape = model.map(empty, form.task, dim=form.dim, numbers=form.numbers)
    about: dict[str, Any] = {**provenance(model, form.task, form.numbers), "dim": form.dim}
    done = Written()
    with task_file(out, about, shape.shape[1], shape.dtype) as file:
        for rows, vectors, damaged in blocks:
            if rows:
                file.write(rows, model.map(vectors, form.task, dim=form.dim, numbers=form.numbers))
            done.items += len(rows)
            done.damaged += damaged
            say(len(rows) + damaged)
    return done


def _blocks(store: Store, size: int) -> Iterator[tuple[list[Row], Vectors, int]]:
    """Sound items, at least `size` at a time, and how many damaged ones came between them."""
    rows: list[Row] = []
    parts: list[Vectors] = []
    damaged = 0
    for entries, vectors, lost in store.items():
        rows += [row_of(entry) for entry in entries]
        parts.append(vectors)
        damaged += lost
        if len(rows) >= size:
            yield rows, np.concatenate(parts), damaged
            rows, parts, damaged = [], [], 0
    if parts:
        yield rows, np.concatenate(parts), damaged
