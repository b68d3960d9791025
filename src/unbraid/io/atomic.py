"""Atomic writes: after a crash or a power cut a file holds its old content or its new content, whole."""

import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE, PAUSE = 2.0, 0.02  # seconds in which Windows may let go of a file, and between two tries


def write_atomic(path: Path, content: bytes) -> None:
    """Replace the file at `path` by `content`, which is on the disk when this returns. Raises OSError."""
    with atomic_file(path) as unfinished:
        unfinished.write_bytes(content)


@contextmanager
def atomic_file(path: Path, *, many_writers: bool = False) -> Iterator[Path]:
    """A path beside `path` to write to. When the block ends without an error, that file is renamed to `path`.

    It is on the disk then. After an error, or a kill, the file at `path` is the old one. A later write overwrites the
    leftover of a killed process. With `many_writers`, several processes, also on several machines, may write the same
    file at once: the path to write to holds the process's id, is hidden, and stays after a kill. Raises OSError.
    """
    writer = f".{platform.node()}.{os.getpid()}"
    unfinished = path.with_name(f".{path.name}{writer}.new" if many_writers else f"{path.name}.new")
    try:
        yield unfinished
        with open(unfinished, "rb+") as stream:
            os.fsync(stream.fileno())
        replace_file(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextmanager
def atomic_folder(folder: Path, check: Callable[[], object]) -> Iterator[Path]:
    """An empty folder to write to, which takes the name `folder` when the block ends without an error.

    What is at `folder` is replaced, whole. `check` raises where that must not happen; it is called before the block and
    again after it. After an error nothing is changed. Raises OSError.
    """
    check()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        unfinished = Path(scratch) / "new"
        unfinished.mkdir()
        yield unfinished
        check()
        if folder.exists():
            os.rename(folder, Path(scratch) / "old")
        os.rename(unfinished, folder)
    sync_folder(folder.parent)


def replace_file(new: Path, path: Path) -> None:
    """Rename `new` to `path`, which it replaces. Raises OSError.

    Windows refuses that while any process reads `path`, which takes a moment: it is tried again for PATIENCE seconds.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            os.replace(new, path)
            return
        except PermissionError:
            if os.name == "posix" or time.monotonic() > deadline:
                raise
            time.sleep(PAUSE)


def sync_folder(folder: Path) -> None:
    """Write the names in `folder` to disk; before that, a power cut may undo a rename or removal. Raises OSError."""
    if os.name != "posix":  # Windows cannot open a folder
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
