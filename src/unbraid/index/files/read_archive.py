"""The files in a zip or tar archive, and the one in a file packed by gzip, bzip2 or xz. Archives in an archive are left out."""

import bz2
import gzip
import lzma
import stat
import zlib
from collections.abc import Iterator
from functools import partial
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any

from unbraid.errors import DataError
from unbraid.index.files.chunk import Limit
from unbraid.index.files.content import FileContent
from unbraid.index.files.documents.parts import Refused
from unbraid.index.files.documents.zipped import Zipped, shown_size
from unbraid.index.files.read import DEPTH, read_file
from unbraid.index.files.read_document import Member, read_document
from unbraid.index.files.walk import TAR_SUFFIXES
from unbraid.index.files.within import largest, outside, read_within, unread

# Any: each opens a file of its own class.
_UNPACK: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


def read_archive(data: bytes, name: str, limit: Limit | None = None) -> FileContent:
    """What the files in the archive `name` hold; `skipped` are those that were left out.

    The unit of a chunk begins with the name of its file: "docs/a.md, line". Raises DataError for an archive that is
    broken, encrypted or a bomb.
    """
    read = partial(read_file, limit=limit, depth=DEPTH - 1)
    return read_within(_members(data, name), "an archive", read)


def _members(data: bytes, name: str) -> Iterator[Member]:
    lower = name.lower()
    tar = next((suffix for suffix in TAR_SUFFIXES if lower.endswith(suffix)), None)
    if tar:
        return read_document(data, tar).members
    suffix = PurePosixPath(lower).suffix
    return _unpacked(data, name[: -len(suffix)], suffix) if suffix in _UNPACK else _zipped(data)


def _zipped(data: bytes) -> Iterator[Member]:
    try:
        archive = Zipped(data)
    except Refused as refused:
        raise DataError(str(refused)) from None
    for name in archive.names():
        about = archive.members[name]
        reason = outside(name) or unread(name, about.file_size, "an archive")
        if stat.S_ISLNK(about.external_attr >> 16):
            reason = "symbolic link"
        try:
            content = b"" if reason else archive.read(name)
        except Refused as refused:
            reason = str(refused)
        yield name, reason or content


def _unpacked(data: bytes, name: str, suffix: str) -> Iterator[Member]:
    if reason := outside(name) or unread(name, 0, "an archive"):
        yield name, reason
        return
    most = largest(name)
    try:
        with _UNPACK[suffix](BytesIO(data)) as stream:
            content = stream.read(most + 1)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, MemoryError):
        raise DataError(f"broken {suffix[1:]} file") from None
    if len(content) > most:
        raise DataError(f"too large when unpacked: over {shown_size(most)} in a {shown_size(len(data))} file")
    yield name, content
