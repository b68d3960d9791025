"""A zip file that anyone may have made: its names and sizes are checked before anything is unpacked."""

import io
import zipfile
from collections.abc import Iterator
from typing import IO

from unbraid.index.files.documents.parts import Refused

MAX_MEMBERS = 20_000
MAX_UNPACKED = 256 * 1024**2
MAX_RATIO = 250  # bytes unpacked from a byte: of XML some 10, of a sheet of zeros 100
FREE = 16 * 1024**2  # which any file may unpack to
_ENCRYPTED = 1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others unpack a block of any size at once


class Zipped:
    """The members of a zip file by name."""

    def __init__(self, data: bytes) -> None:
        """Read the list of members. Raises Refused, whose message is the reason."""
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, EOFError):
            raise Refused("broken zip file") from None
        members = self._zip.infolist()
        if len(members) > MAX_MEMBERS:
            raise Refused(f"over {MAX_MEMBERS:,} files within")
        if any(member.flag_bits & _ENCRYPTED for member in members):
            raise Refused("password-protected")
        if any(member.compress_type not in _METHODS for member in members):
            raise Refused("packed in a way that is not read")
        unpacked = sum(member.file_size for member in members)
        if unpacked > MAX_UNPACKED or unpacked > max(FREE, MAX_RATIO * len(data)):
            raise Refused(
                f"too large when unpacked: {shown_size(unpacked)} in a {shown_size(len(data))} file"
            )
        self.members = {member.filename: member for member in members}

    def __contains__(self, name: str) -> bool:
        """Whether there is such a member."""
        return name in self.members

    def open(self, name: str) -> IO[bytes]:
        """The member's content as a stream, which never gives more than the size that was checked.

        Raises Refused where there is none.
        """
        if name not in self.members:
            raise Refused(f"no {name} within")
        try:
            return self._zip.open(name)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, OSError, EOFError):
            raise Refused("broken zip file") from None

    def read(self, name: str) -> bytes:
        """The member's content. Raises Refused where there is none and where it is broken."""
        import zlib

        with self.open(name) as stream:
            try:
                return stream.read(self.members[name].file_size)  # without a size it unpacks 1 GB at once
            except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError):
                raise Refused("broken zip file") from None

    def names(self) -> Iterator[str]:
        """The members' names, folders left out, as they are stored."""
        return (name for name in self.members if not name.endswith("/"))


def shown_size(size: int) -> str:
    """A size as a person reads it: 40 kB."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size //= 1000
    return f"{size} GB"
