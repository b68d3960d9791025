"""Tar archives, packed or not, read from the front to the end."""

import bz2
import gzip
import lzma
import tarfile
from io import BytesIO, RawIOBase
from typing import IO, Any, Self

from unbraid.index.files.documents.parts import Document, Refused
from unbraid.index.files.documents.zipped import FREE, MAX_MEMBERS, MAX_RATIO, MAX_UNPACKED, shown_size
from unbraid.index.files.within import outside, unread

BLOCK = 1 << 20
# Headers of any length before a member: its name, or more about it. tarfile takes a minute for one of 5 MB (CVE-2024-6232).
_EXTENDED = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_LONGEST = 1 << 16
# How a packed file begins.
_UNPACK: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}


def read_tar(data: bytes, document: Document) -> None:
    """Attach the files in it, links and devices named. Raises Refused."""
    unpack = next((one for start, one in _UNPACK.items() if data.startswith(start)), None)
    stream = _Limited(unpack(BytesIO(data)) if unpack else BytesIO(data), len(data))
    found: dict[str, bytes | str] = {}  # of files with one name the last, as when they are unpacked
    with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Header) as archive:
        for number, member in enumerate(archive):
            if number >= MAX_MEMBERS:
                raise Refused(f"over {MAX_MEMBERS:,} files within")
            if not member.isdir():
                found[member.name.removeprefix("./")] = _content(archive, member)
    while stream.read(BLOCK):  # what is packed has its checksum at the end
        pass
    if not found:
        raise Refused("empty")
    for name, content in found.items():
        document.attach(name, content)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes | str:
    if member.issym():
        return "symbolic link"
    if member.islnk():
        return "hard link"
    if not member.isreg():
        return "not a regular file"
    # One that says that it has gigabytes of zeros takes a line to say so.
    if member.issparse():
        return "sparse file"
    if reason := outside(member.name) or unread(member.name, member.size, "an archive"):
        return reason
    stream = archive.extractfile(member)
    assert stream
    return stream.read(member.size)


class _Limited(RawIOBase):
    """What is unpacked of a file of `size` bytes; reading more than anyone packs raises Refused."""

    def __init__(self, stream: IO[bytes], size: int) -> None:
        self._stream, self._size = stream, size
        self._most = min(MAX_UNPACKED, max(FREE, MAX_RATIO * size))
        self._left = self._most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self._stream.read(len(buffer))
        self._left -= len(content)
        if self._left < 0:
            raise Refused(
                f"too large when unpacked: over {shown_size(self._most)} in a {shown_size(self._size)} file"
            )
        buffer[: len(content)] = content
        return len(content)


class _Header(tarfile.TarInfo):
    """What says what a member is. tarfile takes one that is damaged for the end of the archive; here it is an error."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            found = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError:
            if buf.strip(b"\0"):
                raise Refused("broken tar file") from None
            raise
        if found.type in _EXTENDED and not 0 <= found.size <= _LONGEST:
            raise Refused(f"header of {shown_size(found.size)} within")
        return found
