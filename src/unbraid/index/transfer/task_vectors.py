"""Export task vectors of a whole index to a file, streaming: base vectors in, mapped vectors out."""

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
from unbraid.index.store.entry import Entry, point_id
from unbraid.index.store.store import Store
from unbraid.io.vector_file import Row, provenance, vector_file
from unbraid.vectors import Numbers

BLOCK = 4_000  # items held, mapped and written at a time: 8 MB of base vectors
SAMPLE, PARTS = 2_000, 4  # items that the estimate maps and writes, and in how many steps
ROOM = 16 * 1024**2  # bytes to be left over, and one part in ten of the estimate
# What the file says of each vector: its id in the index, and which chunk of which content it is.
COLUMNS = {
    "id": str,
    "path": str,
    "modality": str,
    "first_line": int,  # pages of a PDF, none of a picture
    "last_line": int,
    "chunk": int,
    "sha256": str,  # of the whole file
}


@dataclass(frozen=True)
class Form:
    """What to make of each base vector: task, length, stored numbers."""

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
    """How many items are in the file, and how many are left out because they are damaged."""

    items: int = 0
    damaged: int = 0


def estimate_task_vectors(store: Store, model: Embedder, form: Form, out: Path) -> Estimate:
    """What `write_task_vectors` will take, from its first items. Raises what it would raise for them."""
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


def check_room(about: Estimate, out: Path) -> None:
    """Raise DataError when `out` may not fit on its disk; the file that it replaces counts until it is replaced."""
    needed = about.bytes + about.bytes // 10 + ROOM
    if about.free < needed:
        raise DataError(
            f"{out}: its disk has {about.free / 1e6:,.0f} MB left and this may need {needed / 1e6:,.0f}: nothing was "
            "written; make room, or store less with --dim or --numbers"
        )


def write_task_vectors(
    store: Store, model: Embedder, form: Form, out: Path, on_progress: Callable[[int], None]
) -> Written:
    """Write the task vector of every undamaged item of `store` to `out`, by its suffix.

    The file is written whole or not at all. Holds some thousand items in memory, however many there are. Raises
    DataError when it cannot be written, ItemError for a task, dim or numbers that the model does not have.
    """
    return _write(_blocks(store, BLOCK), model, form, out, on_progress)


def _write(
    blocks: Iterator[tuple[list[Entry], Vectors, int]],
    model: Embedder,
    form: Form,
    out: Path,
    on_progress: Callable[[int], None],
) -> Written:
    empty = np.empty((0, model.dim), np.float32)
    shape = model.map(empty, form.task, dim=form.dim, numbers=form.numbers)
    about: dict[str, Any] = {**provenance(model, form.task, form.numbers), "dim": form.dim}
    done = Written()
    with vector_file(out, about, COLUMNS, shape.shape[1], shape.dtype) as file:
        for entries, vectors, damaged in blocks:
            if entries:
                rows: list[Row] = [
                    {
                        "id": str(point_id(entry.path, entry.sha256, entry.chunk)),
                        **{name: getattr(entry, name) for name in COLUMNS if name != "id"},
                    }
                    for entry in entries
                ]
                file.write(rows, model.map(vectors, form.task, dim=form.dim, numbers=form.numbers))
            done.items += len(entries)
            done.damaged += damaged
            on_progress(len(entries) + damaged)
    return done


def _blocks(store: Store, size: int) -> Iterator[tuple[list[Entry], Vectors, int]]:
    """Undamaged items, at least `size` at a time, and how many damaged ones came between them."""
    entries: list[Entry] = []
    parts: list[Vectors] = []
    damaged = 0
    for some, vectors, lost in store.items():
        entries += some
        parts.append(vectors)
        damaged += lost
        if len(entries) >= size:
            yield entries, np.concatenate(parts), damaged
            entries, parts, damaged = [], [], 0
    if parts:
        yield entries, np.concatenate(parts), damaged
