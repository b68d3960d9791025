"""sealed.json: what the files of an index are like while nobody writes to it.

An item's checksum finds damage to that item. It cannot find damage to what says which items there are: the table of
ids, the indexes by path, the write-ahead log (a bit flipped there brings deleted items back when the log is read
again). So when an index that was written to is closed, those files are hashed, and the items counted. The seal goes
before the next write: an index whose process was killed has none, and its next close makes one.
"""

import errno
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from unbraid.errors import StoreError
from unbraid.io.atomic import sync_folder, write_atomic

FILE = "sealed.json"
BLOCK = 1 << 16
# Vectors and payloads: nearly all bytes of an index, and every item of them has its own checksum.
COVERED_BY_ITEMS = ("vector_storage/vectors/chunk_", "payload_storage/page_")


def seal(folder: Path, shard: Path, items: int) -> None:
    """Write the seal of the closed `shard` that holds `items`."""
    about = {"items": items, "files": _digests(shard)}
    text = json.dumps({"checksum": _hash(json.dumps(about)), **about}, indent=0)
    write_atomic(folder / FILE, text.encode())


def unseal(folder: Path) -> None:
    """Remove the seal; on disk when this returns, so that no later write stands under an old seal."""
    try:
        (folder / FILE).unlink()
    except FileNotFoundError:
        return
    sync_folder(folder)


def sealed_items(folder: Path) -> int | None:
    """How many items the index held when it was sealed; None without a seal. Raises StoreError for a damaged one."""
    about = _read(folder)
    return None if about is None else int(about["items"])


def broken_files(folder: Path, shard: Path) -> list[str]:
    """Files of `shard`, as paths from `folder`, that are not as they were sealed; none without a seal.

    Raises StoreError when the seal itself is damaged.
    """
    about = _read(folder)
    if about is None:
        return []
    then, now = about["files"], _digests(shard)
    return [f"{shard.name}/{name}" for name in sorted({*then, *now}) if then.get(name) != now.get(name)]


def _read(folder: Path) -> dict[str, Any] | None:
    try:
        about = json.loads((folder / FILE).read_text(encoding="utf-8"))
        if about.pop("checksum") == _hash(json.dumps(about)):
            return dict(about)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    raise StoreError(f"{folder / FILE} is damaged: delete it, verify again, and index again")


def _digests(shard: Path) -> dict[str, str]:
    paths = {path.relative_to(shard).as_posix(): path for path in shard.rglob("*") if path.is_file()}
    return {
        name: _file_digest(path)
        for name, path in sorted(paths.items())
        if not any(part in name for part in COVERED_BY_ITEMS)
    }


def _file_digest(path: Path) -> str:
    """Of every block that is not all zeros, with its place: files of 32 MB are set aside and hold a few KB."""
    digest = hashlib.blake2b(str(path.stat().st_size).encode(), digest_size=8)
    zeros = bytes(BLOCK)
    with open(path, "rb", buffering=0) as stream:
        place = 0
        while True:
            place = _next_data(stream.fileno(), place)
            stream.seek(place)
            block = stream.read(BLOCK)
            if not block:
                return digest.hexdigest()
            if block != zeros[: len(block)]:
                digest.update(place.to_bytes(8, "little"))
                digest.update(block)
            place += BLOCK


def _next_data(handle: int, place: int) -> int:
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
