"""sealed.json: hashes of an index's files while nobody writes to it, and the number of its items.

An item's checksum finds damage to that item. It cannot find damage to the files that list the items: the table of
ids, the indexes by path, the write-ahead log (a bit flipped there brings deleted items back when the log is read
again). So those files are hashed when an index that was written to is closed. The hashes are removed before the next
write: an index whose process was killed has none, and its next close writes them.

Beside the hashes stand the lengths of the files, whose empty ends may be cut meanwhile (tails.py). A store that misses them
cannot be written. So there is a second copy in lengths.json, which also stays when sealed.json is deleted by hand. While the
index is written, lengths.json says that nothing is cut: where neither file says anything, the lengths are lost.
"""

import errno
import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from unbraid.errors import StoreError
from unbraid.index.store.tails import long_files
from unbraid.io.atomic import sync_folder, write_atomic

FILE = "sealed.json"
LENGTHS = "lengths.json"  # how long files of the Edge store are, where their empty ends may have been cut (tails.py)
BLOCK = 1 << 16
# Vectors and payloads: nearly all bytes of an index, and every item of them has its own checksum.
COVERED_BY_ITEMS = ("vector_storage/vectors/chunk_", "payload_storage/page_")


def write_file_hashes(folder: Path, edge: Path, items: int, *, lengths: bool = True) -> str:
    """Write the hashes of the closed Edge store `edge` that holds `items`; returns `hash_of_hashes`.

    Without `lengths`, which tell what may be cut, nothing may be.
    """
    sizes = long_files(edge)
    about = {"items": items, "files": _digests(edge, sizes)}
    if lengths:
        about["lengths"] = sizes
        _write(folder / LENGTHS, {"lengths": sizes})
    own = _hash(json.dumps(about))
    _write(folder / FILE, about)
    return own


def hash_of_hashes(folder: Path) -> str | None:
    """A hash of the hashes, another one after each write; None without them, or where they are damaged."""
    try:
        about = _read(folder / FILE)
    except StoreError:
        return None
    return None if about is None else _hash(json.dumps(about))


def file_lengths(folder: Path) -> dict[str, int] | None:
    """The lengths that files of the Edge store had before tails.py may have cut them: none of them where nothing was cut.

    None where both copies are lost or damaged, and of an index of format 3, which has none.
    """
    for name in (LENGTHS, FILE):
        with suppress(StoreError):
            found: Any = (_read(folder / name) or {}).get("lengths")
            if _are_lengths(found):
                return dict(found)
    return None


def _are_lengths(found: Any) -> bool:
    return isinstance(found, dict) and all(type(size) is int and size >= 0 for size in found.values())


def begin_writing(folder: Path) -> None:
    """Note that no file is cut, and remove the hashes; on disk when this returns, so that no later write stands beside them."""
    note_whole(folder)
    _remove(folder / FILE)


def note_whole(folder: Path) -> None:
    """Note that no file of the Edge store is cut; on disk when this returns."""
    _write(folder / LENGTHS, {"lengths": {}})


def remove_file_hashes(folder: Path) -> None:
    """Remove hashes and lengths of an Edge store that no longer counts; gone from the disk when this returns."""
    _remove(folder / FILE)
    _remove(folder / LENGTHS)


def _remove(path: Path) -> None:
    with suppress(FileNotFoundError):
        path.unlink()
        sync_folder(path.parent)


def hashed_items(folder: Path) -> int | None:
    """How many items the index held when it was hashed; None without hashes. Raises StoreError for a damaged file."""
    about = _read(folder / FILE)
    return None if about is None else int(about["items"])


def changed_files(folder: Path, edge: Path) -> list[str]:
    """Files of the Edge store `edge`, as paths from `folder`, that differ from their hashes; none without hashes.

    Raises StoreError when the file of hashes itself is damaged.
    """
    about = _read(folder / FILE)
    if about is None:
        return []
    then, now = about["files"], _digests(edge, file_lengths(folder) or {})
    return [f"{edge.name}/{name}" for name in sorted({*then, *now}) if then.get(name) != now.get(name)]


def _write(path: Path, about: dict[str, Any]) -> None:
    write_atomic(path, json.dumps({"checksum": _hash(json.dumps(about)), **about}, indent=0).encode())


def _read(path: Path) -> dict[str, Any] | None:
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        if about.pop("checksum") == _hash(json.dumps(about)):
            return dict(about)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    raise StoreError(f"{path} is damaged: delete it, verify again, and index again")


def _digests(edge: Path, lengths: Mapping[str, int]) -> dict[str, str]:
    paths = {path.relative_to(edge).as_posix(): path for path in edge.rglob("*") if path.is_file()}
    return {
        name: _file_digest(path, max(path.stat().st_size, lengths.get(name, 0)))
        for name, path in sorted(paths.items())
        if not any(part in name for part in COVERED_BY_ITEMS)
    }


def _file_digest(path: Path, length: int) -> str:
    """A hash of every block that is not all zeros, with its place: files take 32 MB and hold a few KB.

    A file that is shorter than `length` counts as if zeros followed, which tails.py has cut.
    """
    digest = hashlib.blake2b(str(length).encode(), digest_size=8)
    zeros = bytes(BLOCK)
    with open(path, "rb", buffering=0) as stream:
        place = 0
        while True:
            place = next_data(stream.fileno(), place)
            stream.seek(place)
            block = stream.read(BLOCK)
            if not block:
                return digest.hexdigest()
            if block != zeros[: len(block)]:
                digest.update(place.to_bytes(8, "little"))
                digest.update(block + zeros[len(block) : min(BLOCK, length - place)])
            place += BLOCK


def next_data(handle: int, place: int) -> int:
    """Start of the first block from `place` on that may hold anything; the end of the file when none does."""
    if not hasattr(os, "SEEK_DATA"):
        return place
    try:
        return os.lseek(handle, place, os.SEEK_DATA) // BLOCK * BLOCK
    except OSError as error:
        if error.errno != errno.ENXIO:  # a file system that does not know holes
            return place
        return os.lseek(handle, 0, os.SEEK_END)  # nothing but a hole from here on


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
