"""The files in a zip or gzip file, read as files of a folder are. Nothing is unpacked to the disk.

Pictures and archives in an archive are left out, and so is a name that leads out of it.
"""

import gzip
import stat
import zlib
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import PurePosixPath

from unbraid.errors import DataError, install_command
from unbraid.index.files.chunk import Chunk, Limit
from unbraid.index.files.decode import is_binary
from unbraid.index.files.documents.parts import Refused
from unbraid.index.files.documents.zipped import Zipped, shown_size
from unbraid.index.files.generated import generated_by_rule
from unbraid.index.files.read import FileContent, read_file
from unbraid.index.files.read_document import DOCUMENT_SUFFIXES, UNREAD, not_read
from unbraid.index.files.read_pdf import PDF_SUFFIXES, can_read_pdf
from unbraid.index.files.walk import ARCHIVE_SUFFIXES, MAX_BYTES, MAX_TEXT_BYTES, NEVER_ENTERED, SNIFF_BYTES
from unbraid.items import suffix_modality

MAX_CHARACTERS = 32 * 1024**2
_UNSEEN = NEVER_ENTERED | {"__MACOSX"}


def read_archive(
    data: bytes, name: str, limit: Limit | None = None
) -> tuple[FileContent, list[tuple[str, str]]]:
    """What the files in the archive `name` hold, and (name in it, reason) of each that was left out.

    The unit of a chunk begins with the name of its file: "docs/a.md, line". Raises DataError for an archive that is
    broken, encrypted or a bomb.
    """
    chunks: list[Chunk] = []
    skipped: list[tuple[str, str]] = []
    size = left_out = 0
    for member, found in _members(data, name):
        if isinstance(found, str):
            skipped.append((_printable(member), found))
            continue
        try:
            inner = read_file(found, PurePosixPath(member).suffix, limit)
        except DataError as error:
            skipped.append((_printable(member), str(error)))
            continue
        chunks += [_within(member, chunk) for chunk in inner.chunks]
        left_out += inner.left_out
        size += sum(len(chunk.snippet) for chunk in inner.chunks)
        if size > MAX_CHARACTERS:
            raise DataError(f"over {MAX_CHARACTERS:,} characters within")
    return FileContent(chunks, left_out=left_out), skipped


def _within(member: str, chunk: Chunk) -> Chunk:
    path = PurePosixPath(member)
    unit = chunk.unit or ("page" if path.suffix.lower() in PDF_SUFFIXES else "line")
    return replace(
        chunk, unit=f"{_printable(member)}, {unit}", modality=chunk.modality or suffix_modality(path)
    )


def _members(data: bytes, name: str) -> Iterator[tuple[str, bytes | str]]:
    """The name of each file and its content, or why it is left out."""
    if name.lower().endswith(".gz"):
        inner = name[:-3]
        yield inner, _refusal(inner, 0) or _gunzipped(data, inner)
        return
    try:
        archive = Zipped(data)
    except Refused as refused:
        raise DataError(str(refused)) from None
    for member in archive.names():
        about = archive.members[member]
        reason = _refusal(member, about.file_size)
        if stat.S_ISLNK(about.external_attr >> 16):
            reason = "symbolic link"
        try:
            content = b"" if reason else archive.read(member)
        except Refused as refused:
            reason = str(refused)
        yield member, reason or _unfit(member, content) or content


def _gunzipped(data: bytes, inner: str) -> bytes | str:
    most = _most(inner)
    try:
        with gzip.GzipFile(fileobj=BytesIO(data)) as stream:
            content = stream.read(most + 1)
    except (OSError, EOFError, zlib.error):
        raise DataError("broken gzip file") from None
    if len(content) > most:
        raise DataError(f"too large when unpacked: over {shown_size(most)} in a {shown_size(len(data))} file")
    return _unfit(inner, content) or content


def _most(member: str) -> int:
    return MAX_BYTES.get(PurePosixPath(member).suffix.lower(), MAX_TEXT_BYTES)


def _refusal(member: str, size: int) -> str:
    """Why a file in an archive is left out by its name and size; empty for one that is read."""
    path = PurePosixPath(member.replace("\\", "/"))
    suffix = path.suffix.lower()
    if not path.parts:
        return "it has no name"
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        return "its name leads out of the archive"
    if _UNSEEN & set(path.parts):
        return "passed over"
    if any(part.startswith(".") for part in path.parts):
        return "hidden"
    if suffix in ARCHIVE_SUFFIXES:
        return "archive in an archive"
    if suffix_modality(path) == "image":
        return "picture in an archive"
    if suffix in PDF_SUFFIXES and not can_read_pdf():
        return f"PDF, read with: {install_command('documents')}"
    return not_read(suffix) or ("too large" if size > _most(member) else "")


def _unfit(member: str, content: bytes) -> str:
    """Why a file in an archive is left out by its content; empty for one that is read."""
    path = PurePosixPath(member)
    suffix = path.suffix.lower()
    head = content[:SNIFF_BYTES]
    if not content:
        return "empty"
    if suffix in PDF_SUFFIXES | DOCUMENT_SUFFIXES:
        return ""
    if is_binary(head, final=len(content) <= SNIFF_BYTES):
        return UNREAD.get(suffix, "binary")
    return generated_by_rule(path, suffix_modality(path), head) or ""


def _printable(name: str) -> str:
    """A name as a place shows it: of a very long one the end, which has the file's own name."""
    return "".join(letter if letter.isprintable() else "·" for letter in name)[-200:]
