"""A copy of an index that this user cannot write, to search it: Edge writes into a store's files when it only loads it."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from unbraid.errors import StoreError
from unbraid.index.store.file_hashes import FILE, LENGTHS, next_data
from unbraid.index.store.meta import META_FILE, read_meta
from unbraid.io.lock import OPEN, holder_of
from unbraid.sizes import disk_bytes

BLOCK = 1 << 20


@contextmanager
def private_copy(folder: Path) -> Iterator[Path]:
    """A folder with a copy of the index in `folder`, removed when the block ends; what was written there is lost.

    Raises StoreError while another process may be writing the index, and when there is no room.
    """
    with tempfile.TemporaryDirectory(prefix="unbraid-") as place:
        copy = Path(place) / folder.name
        copy.mkdir()
        try:
            with _unchanged(folder):
                shutil.copy(folder / META_FILE, copy)
                for name in (LENGTHS, FILE):
                    with suppress(FileNotFoundError):
                        shutil.copy(folder / name, copy)
                shard = read_meta(folder).shard
                _require_room(folder / shard, copy)
                shutil.copytree(folder / shard, copy / shard, copy_function=copy_sparse)
        except OSError as error:
            raise StoreError(f"{folder} cannot be copied in order to search it: {error}") from error
        yield copy


@contextmanager
def _unchanged(folder: Path) -> Iterator[None]:
    """A block in which no process of this machine opens the index. Raises StoreError when one has it open."""
    try:
        import fcntl

        handle = os.open(folder / f"{OPEN}.lock", os.O_RDONLY)
    except (ImportError, OSError):  # it was never opened here
        yield
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(
                f"{folder} is open in {holder_of(folder)}, and this user can neither write the folder nor ask that "
                "process: close it there first, or search a copy"
            ) from None
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(handle)


def _require_room(source: Path, target: Path) -> None:
    needed = disk_bytes(source)
    free = shutil.disk_usage(target).free
    if free < needed:
        raise StoreError(
            f"{source.parent} cannot be written, and {target.parent} has no room for a copy to search: it needs "
            f"{needed / 1e6:.0f} MB and has {free / 1e6:.0f}; set TMPDIR to a larger disk"
        )


def copy_sparse(source: str | Path, target: str | Path) -> None:
    """Copy a file; its holes stay holes: Edge sets aside 200 MB, of which 2 may hold anything."""
    with open(source, "rb", buffering=0) as reader, open(target, "wb", buffering=0) as writer:
        size = os.fstat(reader.fileno()).st_size
        place = 0
        while (place := next_data(reader.fileno(), place)) < size:
            reader.seek(place)
            block = reader.read(BLOCK)
            if not block:
                break
            writer.seek(place)
            writer.write(block)
            place += len(block)
        writer.truncate(size)
