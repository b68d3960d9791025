"""Files within a file: in an archive, or attached to a message. They are read as the files of a folder are.

Nothing is unpacked to the disk. Pictures and archives within are left out.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Literal, TypeAlias

from unbraid.errors import DataError, install_command
from unbraid.index.files.chunk import Chunk
from unbraid.index.files.content import FileContent
from unbraid.index.files.decode import is_binary
from unbraid.index.files.generated import generated_by_rule
from unbraid.index.files.read_document import DOCUMENT_SUFFIXES, UNREAD, Member, not_read
from unbraid.index.files.read_pdf import PDF_SUFFIXES, can_read_pdf
from unbraid.index.files.walk import ARCHIVE_SUFFIXES, MAX_BYTES, MAX_TEXT_BYTES, NEVER_ENTERED, SNIFF_BYTES
from unbraid.items import suffix_modality

MAX_CHARACTERS = 32 * 1024**2
_UNSEEN = NEVER_ENTERED | {"__MACOSX"}
Holder: TypeAlias = Literal["an archive", "a message"]


def read_within(
    members: Iterable[Member], holder: Holder, read: Callable[[bytes, str], FileContent]
) -> FileContent:
    """What `members` of a file hold, by `read`, which is given a content and a suffix, and may raise DataError.

    The unit of a chunk begins with the name of its member: "docs/a.md, line".
    """
    chunks: list[Chunk] = []
    skipped: list[tuple[str, str]] = []
    size = left_out = 0
    for name, content in members:
        shown = _printable(name)
        try:
            if isinstance(content, str):
                raise DataError(content)
            if reason := unread(name, len(content), holder) or _unfit(name, content):
                raise DataError(reason)
            if size > MAX_CHARACTERS:
                raise DataError(f"over {MAX_CHARACTERS:,} characters in those before it")
            inner = read(content, PurePosixPath(name).suffix)
            if not inner.chunks and not inner.skipped:
                raise DataError("base64 or a drawing" if inner.left_out else "empty")
        except DataError as error:
            skipped.append((shown, str(error)))
            continue
        chunks += [_placed(name, shown, chunk) for chunk in inner.chunks]
        skipped += [(f"{shown}, {within}", reason) for within, reason in inner.skipped]
        left_out += inner.left_out
        size += sum(len(chunk.snippet) for chunk in inner.chunks)
    return FileContent(chunks, left_out=left_out, skipped=skipped)


def _placed(name: str, shown: str, chunk: Chunk) -> Chunk:
    path = PurePosixPath(name)
    unit = chunk.unit or ("page" if path.suffix.lower() in PDF_SUFFIXES else "line")
    return replace(chunk, unit=f"{shown}, {unit}", modality=chunk.modality or suffix_modality(path))


def outside(name: str) -> str:
    """Why a file in an archive is left out by the folders of its name; empty for one that is not."""
    path = PurePosixPath(name.replace("\\", "/"))
    if not path.parts:
        return "it has no name"
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        return "its name leads out of the archive"
    if _UNSEEN & set(path.parts):
        return "passed over"
    return "hidden" if any(part.startswith(".") for part in path.parts) else ""


def unread(name: str, size: int, holder: Holder) -> str:
    """Why a file within another one is left out by its type and size; empty for one that is read."""
    path = PurePosixPath(name)
    suffix = path.suffix.lower()
    if suffix in ARCHIVE_SUFFIXES:
        return f"archive in {holder}"
    if suffix_modality(path) == "image":
        return f"picture in {holder}"
    if suffix in PDF_SUFFIXES and not can_read_pdf():
        return f"PDF, read with: {install_command('documents')}"
    return not_read(suffix) or ("too large" if size > largest(name) else "")


def largest(name: str) -> int:
    """The bytes that a file of this name may have."""
    return MAX_BYTES.get(PurePosixPath(name).suffix.lower(), MAX_TEXT_BYTES)


def _unfit(name: str, content: bytes) -> str:
    """Why a file within another one is left out by its content; empty for one that is read."""
    path = PurePosixPath(name)
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
