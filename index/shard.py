"""Qdrant Edge, as far as the index uses it: making and loading a shard, its errors, room on the disk for a write."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import qdrant_edge as edge

from unbraid.errors import StoreError
from unbraid.index.meta import sync_folder

# One segment, freed of deleted items whenever it is optimised, and no HNSW graph: search is exact, and building a
# graph took 180 s for 50,000 vectors.
_OPTIMISER = edge.EdgeOptimizersConfig(
    deleted_threshold=0.0001, vacuum_min_vector_number=1, default_segment_number=1, indexing_threshold=0
)
# Edge writes into files that it has mapped: on a full disk the process dies of SIGBUS, without an error. So there has
# to be room before a write. Measured: 2.1 bytes a byte of vector and payload, log included, and 2 MB for a flush.
ROOM_FACTOR = 3
ROOM_AT_LEAST = 8 * 1024**2


def load_shard(path: Path, dim: int) -> edge.EdgeShard:
    """The shard at `path`, for vectors of `dim`; made where there is none, whole or not at all."""
    with edge_errors():
        if not path.exists():
            unfinished = path.with_name(path.name + ".new")
            shutil.rmtree(unfinished, ignore_errors=True)
            make_shard(unfinished, dim).close()
            unfinished.rename(path)
            sync_folder(path.parent)
        return edge.EdgeShard.load(str(path))


def make_shard(path: Path, dim: int) -> edge.EdgeShard:
    """A new, empty shard in the folder `path`, which must not exist; flushed."""
    require_room(path.parent, 0)
    with edge_errors():
        vectors = edge.EdgeVectorParams(size=dim, distance=edge.Distance.Dot)
        shard = edge.EdgeShard.create(str(path), edge.EdgeConfig(vectors=vectors, optimizers=_OPTIMISER))
        for key in ("path", "modality"):
            shard.update(edge.UpdateOperation.create_field_index(key, edge.PayloadSchemaType.Keyword))
        shard.flush()
        return shard


def require_room(folder: Path, size: int) -> None:
    """Raise StoreError when the disk of `folder` may be too full to write `size` bytes of vectors and payload."""
    free, needed = shutil.disk_usage(folder).free, ROOM_AT_LEAST + ROOM_FACTOR * size
    if free < needed:
        raise StoreError(
            f"the disk of {folder} has {free / 1e6:.1f} MB left and this write may need {needed / 1e6:.1f}: nothing of "
            "it was written, what was there before is safe; make room and run again"
        )


def where(key: str, value: str) -> edge.Filter:
    """Items whose payload field `key` is `value`."""
    return edge.Filter(must=[edge.FieldCondition(key, match=edge.MatchValue(value))])


@contextmanager
def edge_errors() -> Iterator[None]:
    """Edge raises plain Exception for everything, and its panics pass `except Exception`; both become StoreError."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        if "WouldBlock" in str(error):  # the lock on its write-ahead log is taken
            message = "the index is open in another process, or twice in this one: close it there first"
        elif "not initialized" in str(error):
            message = "the index has been closed: open it again"
        elif "os error 28" in str(error) or "os error 27" in str(error):  # ENOSPC, EFBIG
            message = f"the disk is full, or files may not grow: this write did not happen: {error}"
        else:
            message = f"the index cannot be read or written: {error}; see what is broken: unbraid index verify FOLDER"
        raise StoreError(message) from error
