"""Read a file that anyone may have replaced meanwhile: by a pipe, which would wait for ever, or by one without end."""

import os
import stat
from pathlib import Path


def read_regular(path: str | Path, most: int, *, follow: bool) -> bytes:
    """The content of a regular file, at most `most` + 1 bytes of it; a link is followed only where `follow` says so.

    Raises OSError for what cannot be read or is no regular file.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    number = os.open(path, flags if follow else flags | getattr(os, "O_NOFOLLOW", 0))
    with open(number, "rb") as file:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise OSError(f"{path} is no regular file")
        return file.read(most + 1)
