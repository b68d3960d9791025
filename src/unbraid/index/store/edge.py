"""The parts of Qdrant Edge that the index uses: making and loading an Edge store, points, filters, errors, room on the disk."""

import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import Any
from uuid import UUID

import numpy as np
import qdrant_edge as edge

from unbraid.errors import StoreError, UnbraidError
from unbraid.index.protocol import Vectors
from unbraid.index.store.bm25 import document_words
from unbraid.index.store.checksum import to_payload
from unbraid.index.store.entry import KEYWORDS, Entry, Fields, new_fields, point_id
from unbraid.index.store.file_fields import KEYS
from unbraid.index.store.filter import FIELDS, field_names
from unbraid.index.store.storage import Copy, Storage
from unbraid.io.atomic import sync_folder

# One segment, freed of deleted items whenever it is optimized, and no HNSW graph (m=0): building one took 180 s for
# 50,000 vectors. A segment that is indexed all the same gets the smaller copy of its vectors, which most have none of.
_INDEXED_FROM = 1_000  # KB of vectors
_COPY = {
    None: None,
    "int8": edge.ScalarQuantizationConfig(edge.ScalarType.Int8, memory=edge.Memory.Pinned),
    "binary": edge.BinaryQuantizationConfig(memory=edge.Memory.Pinned),
}
DENSE, WORDS = "", "words"  # names of a point's two vectors: the base vector, and the words that BM25 counts
_NUMBERS = {"float32": edge.VectorStorageDatatype.Float32, "float16": edge.VectorStorageDatatype.Float16}
# Edge writes into files that it has mapped: on a full disk the process dies of SIGBUS, without an error. So there has
# to be room before a write. Measured: 2.1 bytes a byte of vector and payload, log included, and 2 MB for a flush.
ROOM_FACTOR = 3
ROOM_AT_LEAST = 8 * 1024**2
AT_ONCE = 16  # points in one operation of Edge, which stops every thread of Python for 1 to 5 ms


def load_edge(path: Path, storage: Storage) -> edge.EdgeShard:
    """The Edge store at `path`, for vectors kept as `storage` says; made where there is none, whole or not at all."""
    with edge_errors():
        if not path.exists():
            unfinished = path.with_name(path.name + ".new")
            shutil.rmtree(unfinished, ignore_errors=True)
            make_edge(unfinished, storage).close()
            unfinished.rename(path)
            sync_folder(path.parent)
        return edge.EdgeShard.load(str(path))


def make_edge(path: Path, storage: Storage) -> edge.EdgeShard:
    """A new, empty Edge store in the folder `path`, which must not exist; flushed."""
    require_room(path.parent, 0)
    with edge_errors():
        made = edge.EdgeShard.create(str(path), _config(storage, storage.copy_of(0)))
        for key in KEYWORDS:
            made.update(edge.UpdateOperation.create_field_index(key, edge.PayloadSchemaType.Keyword))
        for key in KEYS.values():
            made.update(edge.UpdateOperation.create_field_index(key, edge.PayloadSchemaType.Integer))
        made.update(edge.UpdateOperation.create_field_index("path", edge.KeywordIndexParams(prefix=True)))
        made.flush()
        return made


def reload_edge(path: Path, storage: Storage, copy: Copy | None) -> edge.EdgeShard:
    """The closed Edge store at `path`, loaded to keep such a copy of its vectors, which `optimize` makes."""
    with edge_errors():
        return edge.EdgeShard.load(str(path), _config(storage, copy))


def _config(storage: Storage, copy: Copy | None) -> edge.EdgeConfig:
    vectors = edge.EdgeVectorParams(
        size=storage.dim,
        distance=edge.Distance.Dot,
        datatype=_NUMBERS[storage.numbers],
        quantization_config=_COPY[copy],
    )
    optimizer = edge.EdgeOptimizersConfig(
        deleted_threshold=0.0001,
        vacuum_min_vector_number=1,
        default_segment_number=1,
        indexing_threshold=_INDEXED_FROM if copy else 0,  # 0 for never
    )
    no_graph = edge.HnswIndexConfig(m=0, ef_construct=4, full_scan_threshold=10)
    return edge.EdgeConfig(
        vectors=vectors,
        sparse_vectors={WORDS: edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf)},
        optimizers=optimizer,
        hnsw_config=no_graph,
    )


def number_fields(known: Mapping[str, "edge.PayloadIndexInfo"]) -> list[str]:
    """Names of the fields that a store of an earlier version keeps as whole numbers."""
    whole = edge.PayloadSchemaType.Integer
    return [name for name in field_names(known) if known[FIELDS + name].data_type == whole]


def index_fields(
    known: Mapping[str, "edge.PayloadIndexInfo"], fields: Iterable[Fields]
) -> list[edge.UpdateOperation]:
    """What gives each of `fields`, KEYWORDS and KEYS an index over its values where it has none, as in an older store.

    Raises StoreError as `new_fields`.
    """
    new = new_fields(fields, field_names(known), number_fields(known))
    words = [*(key for key in KEYWORDS if key not in known), *(FIELDS + name for name in new)]
    kinds = dict.fromkeys(words, edge.PayloadSchemaType.Keyword)
    kinds |= {key: edge.PayloadSchemaType.Integer for key in KEYS.values() if key not in known}
    return [edge.UpdateOperation.create_field_index(key, kind) for key, kind in kinds.items()]


@dataclass(frozen=True)
class Points:
    """Chunks that are ready to be written: vectors [n, storage.dim], payloads with checksums, and the words of each."""

    ids: list[UUID]
    vectors: Vectors
    payloads: list[dict[str, Any]]
    words: list[edge.SparseVector]
    fields: list[Fields]
    room: int  # bytes that they take in a write, rather more than less


def prepare_points(
    entries: Sequence[Entry], vectors: Vectors, storage: Storage, numbers: Collection[str] = ()
) -> Points:
    """`entries` with their base vectors [n, dim], their words counted and their checksums made.

    `numbers` are the fields that the store keeps as whole numbers.
    """
    rows = storage.narrow(vectors)
    return Points(
        [point_id(entry.path, entry.sha256, entry.chunk) for entry in entries],
        rows,
        [to_payload(entry, row, numbers) for entry, row in zip(entries, rows, strict=True)],
        # No checksum holds them, since they follow from the payload.
        [document_words(entry.snippet, entry.path, entry.modality, entry.context) for entry in entries],
        [entry.fields for entry in entries],
        vectors.nbytes + sum(500 + 4 * len(entry.text) for entry in entries),
    )


def join_points(parts: Sequence[Points]) -> Points:
    """The points of several as one."""
    return Points(
        [one for part in parts for one in part.ids],
        np.concatenate([part.vectors for part in parts]),
        [one for part in parts for one in part.payloads],
        [one for part in parts for one in part.words],
        [one for part in parts for one in part.fields],
        sum(part.room for part in parts),
    )


def upsert_operations(points: Points) -> list[edge.UpdateOperation]:
    """The write of `points`, some AT_ONCE of them each, so that a search need not wait for all.

    The chunks of one file are written by one operation: a kill leaves all of them or none.
    """
    operations = []
    some: list[edge.Point] = []
    before = None
    for identity, row, payload, words in zip(
        points.ids, points.vectors, points.payloads, points.words, strict=True
    ):
        if payload["path"] != before and len(some) >= AT_ONCE:
            operations.append(edge.UpdateOperation.upsert_points(some))
            some = []
        before = payload["path"]
        named: dict[str, edge.NamedVector] = {DENSE: row.tolist()}
        if words.indices:
            named[WORDS] = words
        some.append(edge.Point(identity, named, payload))
    return [*operations, edge.UpdateOperation.upsert_points(some)] if some else operations


def set_words(words: Mapping[UUID, edge.SparseVector]) -> list[edge.UpdateOperation]:
    """The write of the words of points by id, in place of those that they have."""
    some = [edge.PointVectors(one, {WORDS: vector}) for one, vector in words.items() if vector.indices]
    none: list[edge.PointId] = [one for one, vector in words.items() if not vector.indices]
    operations = [edge.UpdateOperation.update_vectors(some)] if some else []
    return operations + ([edge.UpdateOperation.delete_vectors(none, [WORDS])] if none else [])


def stored_rows(records: Sequence[edge.Record], dim: int) -> Vectors:
    """Vectors [n, dim] as they are stored; NaN where there is none, which is damage."""
    found = (record.vector for record in records)  # asked for once each: it is made anew every time
    lists = (vector if isinstance(vector, list) else [np.nan] * dim for vector in found)
    # Numpy takes twice as long over lists, and a struct by its text a third longer.
    pack = Struct(f"{dim}f").pack
    packed = b"".join([pack(*numbers) for numbers in lists])
    return np.frombuffer(packed, np.float32).reshape(-1, dim)


def require_room(folder: Path, size: int) -> None:
    """Raise StoreError when the disk of `folder` may be too full to write `size` bytes of vectors and payload."""
    free, needed = shutil.disk_usage(folder).free, ROOM_AT_LEAST + ROOM_FACTOR * size
    if free < needed:
        raise StoreError(
            f"the disk of {folder} has {free / 1e6:.1f} MB left and this write may need {needed / 1e6:.1f}: nothing of "
            "it was written, what was there before is safe; make room and run again"
        )


def condition(key: str, kind: str, value: Any) -> edge.FieldCondition:
    """Items whose payload field `key` is `value`, begins with it, is one of it or between (see `build_filter`)."""
    if kind == "range":
        low, high = value
        return edge.FieldCondition(key, range=edge.RangeFloat(gte=low, lt=high))
    match = {"value": edge.MatchValue, "prefix": edge.MatchPrefix, "any": edge.MatchAny}[kind]
    return edge.FieldCondition(key, match=match(value))


@contextmanager
def edge_errors() -> Iterator[None]:
    """Edge raises plain Exception for everything, and its panics pass `except Exception`; both become StoreError."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        if isinstance(error, UnbraidError):  # a filter that means nothing, for one
            raise
        if "WouldBlock" in str(error):  # the lock on its write-ahead log is taken
            message = "the index is open in another process, or twice in this one: close it there first"
        elif "os error 28" in str(error) or "os error 27" in str(error):  # ENOSPC, EFBIG
            message = f"the disk is full, or files may not grow: this write did not happen: {error}"
        else:
            message = f"the index cannot be read or written: {error}; see what is broken: unbraid index verify FOLDER"
        raise StoreError(message) from error
