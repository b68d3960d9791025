"""Captions that search pictures: a caption file beside a folder or a tar of the same name."""

import tarfile
import zlib
from collections.abc import Container
from dataclasses import replace
from pathlib import Path, PurePosixPath

from unbraid.errors import DataError
from unbraid.evaluation.datasets.dataset import Retrieval, Scratch
from unbraid.evaluation.datasets.pair_files import from_pairs, stem
from unbraid.io.jsonl import Line
from unbraid.items import IMAGE_SUFFIXES

MAX_IMAGE_BYTES = 64 * 2**20
CAPTION_FIELDS = ("caption", "alt", "title")


def read_pictures(path: Path, lines: list[Line], mode: str | None) -> Retrieval:
    """Captions search pictures. A picture without a caption is a document that no query asks for."""
    captions = [_caption(line) for line in lines]
    if not any(captions):
        raise DataError(f"{path}: found no row with text in any of the fields {', '.join(CAPTION_FIELDS)}")
    names = [_file_name(line) for line in lines]
    tar, folder, scratch = path.parent / f"{stem(path)}.tar", path.parent / stem(path), None
    if tar.is_file():
        scratch = Scratch()
        folder = scratch.folder
        _extract(tar, set(names), folder)
    elif not folder.is_dir():
        raise DataError(f"{path}: found neither {tar.name} nor a folder {folder.name}/ beside it")
    present = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    for line, name in zip(lines, names, strict=True):
        if name not in present:
            where = tar if scratch else folder
            raise line.wrong(f"file {name!r}", f"a regular file of that name in {where}")
    pairs = list(zip(captions, names, strict=True))
    dataset = from_pairs(path, pairs, document_of=lambda name: folder / name, mode=mode)
    return replace(dataset, scratch=scratch)


def _caption(line: Line) -> str:
    """The first caption field that holds text, "" when none does (in some files titles are objects)."""
    texts = (value.strip() for name in CAPTION_FIELDS if isinstance(value := line.row.get(name), str))
    return next(filter(None, texts), "")


def _file_name(line: Line) -> str:
    """The field `file`, a path that stays inside the folder. Raises DataError for any other."""
    name = PurePosixPath(line.text("file"))
    if name.is_absolute() or ".." in name.parts or name.suffix.lower() not in IMAGE_SUFFIXES:
        expected = f"a relative path ending in one of {sorted(IMAGE_SUFFIXES)}"
        raise line.wrong(f"file {str(name)!r}", expected)
    return str(name)


def _extract(tar: Path, wanted: Container[str], folder: Path) -> None:
    """Extract the members `wanted` of `tar` into `folder`: regular files only, never outside it."""
    broken = tarfile.TarError, OSError, EOFError, ValueError, zlib.error, RecursionError, OverflowError
    try:
        with tarfile.open(tar) as archive:
            for member in archive:
                member.name = str(PurePosixPath(member.name))  # "./a.jpg" and "a.jpg" are one
                if member.name in wanted and member.isreg():
                    if member.size > MAX_IMAGE_BYTES:
                        found = f"{member.name!r} of {member.size} bytes"
                        raise DataError(f"{tar}: found {found}, at most {MAX_IMAGE_BYTES}")
                    archive.extract(member, folder, filter="data")
    except DataError:
        raise
    except broken as error:
        raise DataError(f"{tar}: cannot be read as a tar of images: {error}") from error
