"""Files and folders that are whole after a crash or a power cut: under their name is the old content or the new one."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def write_atomic(path: Path, content: bytes) -> None:
    """Replace the file at `path` by `content`; on the disk when this returns. Raises OSError."""
    with atomic_file(path) as unfinished:
        unfinished.write_bytes(content)


@contextmanager
def atomic_file(path: Path, *, many_writers: bool = False) -> Iterator[Path]:
    """A path beside `path` to write to; what is there takes the name `path` when the block ends without an error.

    It is on the disk then. After an error, or a kill, the file at `path` is the old one; what a killed process left
    is written over by the next one. With `many_writers` the name to write to holds the process id, so that several
    processes may write the same file at once. Raises OSError.
    """
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.new" if many_writers else f"{path.name}.new")
    try:
        yield unfinished
        with open(unfinished, "rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(unfinished, path)
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


def sync_folder(folder: Path) -> None:
    """Have the names in `folder` on disk: a new, renamed or removed file is not there before. Raises OSError."""
    if os.name != "posix":  # Windows cannot open a folder
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
