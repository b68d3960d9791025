"""Takes the empty tails of an Edge store's files away while it is closed, and puts them back before it is loaded.

Edge sets aside files of up to 32 MB for a few KB. As sparse files they take no room, but a copy by tools that do not know
holes would have 200 MB. Nothing but zeros is cut, and what is put back are zeros: the files are the same again. Their
lengths stand in lengths.json and in sealed.json (file_hashes.py), which are there as long as tails may be missing.

The lengths may come from an index that a stranger made. So only files that are found in the store count, and no links.
"""

import errno
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

LEAST = 1 << 16  # bytes of a tail that is worth it
PAGE = 1 << 12  # what is left ends with one
BLOCK = 1 << 20
_ZEROS = bytes(BLOCK)


def long_files(edge: Path) -> dict[str, int]:
    """The lengths of those files of a closed Edge store, by their paths in it, that are long enough for a tail."""
    sizes = {name: path.stat().st_size for name, path in _files(edge).items()}
    return {name: size for name, size in sorted(sizes.items()) if size >= LEAST}


def cut_tails(edge: Path, lengths: Mapping[str, int]) -> None:
    """Cut the zeros at the ends of the files of `lengths`, which are on the disk as they are named here.

    A file that cannot be cut, or is not as long as that, stays as it is.
    """
    for name, path in _files(edge).items():
        size = lengths.get(name, 0)
        with suppress(OSError):
            if path.stat().st_size == size and size - (end := _end_of_data(path)) >= LEAST:
                os.truncate(path, end)


def restore_tails(edge: Path, lengths: Mapping[str, int]) -> list[Path]:
    """Make the files of `lengths` as long as they were; returns those that were shorter. Raises OSError."""
    short = []
    for name, path in _files(edge).items():
        size = lengths.get(name, 0)
        if path.stat().st_size < size:
            os.truncate(path, size)
            short.append(path)
    return short


def _files(edge: Path) -> dict[str, Path]:
    """The files in the folder `edge`, without links, by their paths in it."""
    files = (path for path in edge.rglob("*") if path.is_file() and not path.is_symlink())
    return {path.relative_to(edge).as_posix(): path for path in files}


def _end_of_data(path: Path) -> int:
    """Where the zeros at the end of a file begin, at the next full page."""
    with open(path, "rb", buffering=0) as stream:
        place = _end_of_blocks(stream.fileno())
        while place:
            start = max(0, place - BLOCK)
            stream.seek(start)
            block = stream.read(place - start)
            if block != _ZEROS[: len(block)]:
                return -(-(start + len(block.rstrip(b"\0"))) // PAGE) * PAGE
            place = start
    return 0


def _end_of_blocks(handle: int) -> int:
    """The end of what takes room of a file: after it is a hole. All of the file where that is not known."""
    size = os.fstat(handle).st_size
    if not hasattr(os, "SEEK_DATA"):
        return size
    end = 0
    while end < size:
        try:
            end = os.lseek(handle, os.lseek(handle, end, os.SEEK_DATA), os.SEEK_HOLE)
        except OSError as error:
            return end if error.errno == errno.ENXIO else size
    return end
