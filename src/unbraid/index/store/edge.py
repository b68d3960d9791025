"""Qdrant Edge, as far as the index uses it: making and loading a shard, its errors, room on the disk for a write."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import qdrant_edge as edge

from unbraid.errors import StoreError
from unbraid.index.store.entry import Fields, new_fields
from unbraid.index.store.filter import Condition, Only
from unbraid.index.store.vector_storage import OVERSAMPLING, Storage
from unbraid.io.atomic import sync_folder

# One segment, freed of deleted items whenever it is optimised, and no HNSW graph (m=0): building one took 180 s for
# 50,000 vectors. A segment that is indexed all the same gets the smaller copy of its vectors, which "exact" has none of.
_INDEXED_FROM = {"exact": 0, "int8": 1_000, "binary": 1_000}  # KB of vectors, 0 for never
_COPY = {
    "exact": None,
    "int8": edge.ScalarQuantizationConfig(edge.ScalarType.Int8, memory=edge.Memory.Pinned),
    "binary": edge.BinaryQuantizationConfig(memory=edge.Memory.Pinned),
}
DENSE, WORDS = "", "words"  # names of a point's two vectors: the base vector, and the words that BM25 counts
_NUMBERS = {"float32": edge.VectorStorageDatatype.Float32, "float16": edge.VectorStorageDatatype.Float16}
# Edge writes into files that it has mapped: on a full disk the process dies of SIGBUS, without an error. So there has
# to be room before a write. Measured: 2.1 bytes a byte of vector and payload, log included, and 2 MB for a flush.
ROOM_FACTOR = 3
ROOM_AT_LEAST = 8 * 1024**2


def load_shard(path: Path, storage: Storage) -> edge.EdgeShard:
    """The shard at `path`, for vectors kept as `storage` says; made where there is none, whole or not at all."""
    with edge_errors():
        if not path.exists():
            unfinished = path.with_name(path.name + ".new")
            shutil.rmtree(unfinished, ignore_errors=True)
            make_shard(unfinished, storage).close()
            unfinished.rename(path)
            sync_folder(path.parent)
        return edge.EdgeShard.load(str(path))


def make_shard(path: Path, storage: Storage) -> edge.EdgeShard:
    """A new, empty shard in the folder `path`, which must not exist; flushed."""
    require_room(path.parent, 0)
    with edge_errors():
        vectors = edge.EdgeVectorParams(
            size=storage.dim,
            distance=edge.Distance.Dot,
            datatype=_NUMBERS[storage.numbers],
            quantization_config=_COPY[storage.candidates],
        )
        optimiser = edge.EdgeOptimizersConfig(
            deleted_threshold=0.0001,
            vacuum_min_vector_number=1,
            default_segment_number=1,
            indexing_threshold=_INDEXED_FROM[storage.candidates],
        )
        no_graph = edge.HnswIndexConfig(m=0, ef_construct=4, full_scan_threshold=10)
        config = edge.EdgeConfig(
            vectors=vectors,
            sparse_vectors={WORDS: edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf)},
            optimizers=optimiser,
            hnsw_config=no_graph,
        )
        shard = edge.EdgeShard.create(str(path), config)
        for key in ("modality", "language"):
            shard.update(edge.UpdateOperation.create_field_index(key, edge.PayloadSchemaType.Keyword))
        shard.update(edge.UpdateOperation.create_field_index("path", edge.KeywordIndexParams(prefix=True)))
        shard.flush()
        return shard


def index_fields(known: Mapping[str, "edge.PayloadIndexInfo"], fields: Fields) -> list[edge.UpdateOperation]:
    """What gives each of `fields` an index over its values where it has none. Raises StoreError as `new_fields`."""
    kinds = {str: edge.PayloadSchemaType.Keyword, int: edge.PayloadSchemaType.Integer}
    held = {
        key: next((kind for kind in kinds if kinds[kind] == info.data_type), None)
        for key, info in known.items()
    }
    return [
        edge.UpdateOperation.create_field_index(key, kinds[kind])
        for key, kind in new_fields(held, fields).items()
    ]


def search_params(storage: Storage) -> edge.SearchParams:
    """How a shard of this storage finds candidates."""
    if storage.candidates == "exact":
        return edge.SearchParams(exact=True)
    rescored = edge.QuantizationSearchParams(rescore=True, oversampling=OVERSAMPLING[storage.candidates])
    return edge.SearchParams(quantization=rescored)


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
    return edge.Filter(must=[_is(key, edge.MatchValue(value))])


def edge_filter(only: Only, paths: Sequence[str] | None) -> edge.Filter | None:
    """Items that `only` lets through, None for all; `paths` are those that its patterns match, None without patterns."""
    must: list[edge.ConditionType] = []
    places: list[edge.ConditionType] = [
        place
        for path in only.paths
        for place in (
            _is("path", edge.MatchValue(path)),
            _is("path", edge.MatchPrefix(path.rstrip("/") + "/")),
        )
    ]
    if paths is not None:
        places.append(_is("path", edge.MatchAny(list(paths))))
    if places:
        must.append(edge.Filter(should=places))
    if only.modality:
        must.append(_is("modality", edge.MatchValue(only.modality)))
    if only.languages:
        must.append(_is("language", edge.MatchAny(list(only.languages))))
    must += [_compared(one) for one in only.conditions if one.compare != "!="]
    must_not: list[edge.ConditionType] = [
        _is(f"fields.{one.name}", edge.MatchValue(one.value))
        for one in only.conditions
        if one.compare == "!="
    ]
    return edge.Filter(must=must, must_not=must_not) if must or must_not else None


def _is(key: str, match: "edge.MatchType") -> edge.FieldCondition:
    return edge.FieldCondition(key, match=match)


def _compared(one: Condition) -> edge.FieldCondition:
    key = f"fields.{one.name}"
    if one.compare == "=":
        return _is(key, edge.MatchValue(one.value))
    bound = float(one.value)
    range_ = {
        "<": edge.RangeFloat(lt=bound),
        "<=": edge.RangeFloat(lte=bound),
        ">": edge.RangeFloat(gt=bound),
        ">=": edge.RangeFloat(gte=bound),
    }
    return edge.FieldCondition(key, range=range_[one.compare])


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
