"""An index as one Parquet file and back: base vectors, what they came from, checksums and provenance, as a stream."""

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from unbraid.errors import DataError, StoreError
from unbraid.index.store.checksum import FIELD, damage, identity_of, to_entry
from unbraid.index.store.entry import ADDED, Entry
from unbraid.index.store.meta import READABLE, Meta, describe, parse_meta, readable_formats
from unbraid.index.store.store import Store
from unbraid.io.atomic import atomic_file
from unbraid.io.vector_file import pyarrow

ROWS = 2_000  # a row group: 4 MB of vectors, what either way holds in memory at a time
KIND = "unbraid index"


def write_index(store: Store, out: Path, on_progress: Callable[[int], None]) -> int:
    """Write every item of `store` to `out`, whole or not at all. Returns how many.

    Raises StoreError when an item is damaged, DataError when `out` cannot be written.
    """
    pa = pyarrow()
    dim = store.meta.storage.dim
    schema = pa.schema([*_columns(pa), ("vector", pa.list_(pa.float32(), dim))])
    about = {"unbraid": json.dumps({"kind": KIND, **describe(store.meta)})}
    count = 0
    try:
        with (
            atomic_file(out) as unfinished,
            pa.parquet.ParquetWriter(unfinished, schema.with_metadata(about), compression="zstd") as writer,
        ):
            for ids, payloads, vectors in store.records():
                for identity, payload, vector in zip(ids, payloads, vectors, strict=True):
                    if reason := damage(identity, payload, vector):
                        raise StoreError(
                            f"an item of {store.place} is damaged ({reason}): unbraid index verify {store.place} --repair"
                        )
                rows = [
                    {**dict.fromkeys(ADDED, ""), **payload, "fields": json.dumps(payload["fields"])}
                    for payload in payloads
                ]
                arrays = [pa.array([row[name] for row in rows], kind) for name, kind in _columns(pa)]
                arrays.append(pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), dim))
                writer.write_batch(pa.record_batch(arrays, schema=schema), row_group_size=ROWS)
                count += len(ids)
                on_progress(len(ids))
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {error.strerror or error}") from error
    return count


class IndexFile:
    """A Parquet file that `write_index` wrote, open for reading."""

    def __init__(self, path: Path) -> None:
        """Read what the file says of itself. Raises DataError when it holds something else than an index."""
        self.path = path
        pa = pyarrow()
        try:
            self._file = pa.parquet.ParquetFile(path)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{path}: cannot be read as Parquet: {error}") from error
        self.items = int(self._file.metadata.num_rows)
        self.meta = self._read_meta()

    def load(self, store: Store, on_progress: Callable[[int], None]) -> int:
        """Put every item into `store`; returns how many. It may be repeated after an interrupt and adds nothing twice.

        Of a file that `store` had with another content, the older chunks go once the new ones are all in.
        Raises DataError for an item whose checksum does not match; those before it are in.
        """
        done, files = 0, {}
        for batch in self._file.iter_batches(ROWS):
            columns = {name: batch.column(name) for name in batch.schema.names}
            vectors = np.asarray(columns.pop("vector").flatten(), np.float32).reshape(
                -1, self.meta.storage.dim
            )
            values = {name: column.to_pylist() for name, column in columns.items()}
            values["fields"] = [json.loads(text) for text in values["fields"]]
            payloads = [
                {name: value for name, value in zip(values, row, strict=True) if value or name not in ADDED}
                for row in zip(*values.values(), strict=True)
            ]
            for number, (payload, vector) in enumerate(zip(payloads, vectors, strict=True)):
                if reason := damage(identity_of(payload), payload, vector):
                    raise DataError(f"{self.path}: row {done + number}: {reason}; export it again")
            entries = [to_entry(payload) for payload in payloads]
            store.upsert(entries, self.meta.storage.widen(vectors, self.meta.dim))
            files.update({entry.path: entry for entry in entries})
            done += len(payloads)
            on_progress(len(payloads))
        store.delete_replaced(files)
        return done

    def _read_meta(self) -> Meta:
        kept = (self._file.schema_arrow.metadata or {}).get(b"unbraid")
        try:
            about = json.loads(kept or b"{}")
            if about.get("task"):
                raise DataError(
                    f"{self.path}: holds {about['task']} vectors (mapper {about.get('mapper_id')}), an index holds base "
                    "vectors, which no mapper gives back: index the files themselves with unbraid index PATH... --into"
                )
            if about.pop("kind", None) != KIND:
                raise DataError(
                    f"{self.path}: is not a file of `unbraid index export`: index the files themselves"
                )
            if about["format"] not in READABLE:
                raise DataError(
                    f"{self.path}: has format {about['format']}, this unbraid reads {readable_formats()}: export it again"
                )
            return parse_meta(about)
        except (ValueError, TypeError, KeyError, StoreError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{self.path}: its description of itself cannot be read: {error!r}") from error


def _columns(pa: Any) -> list[tuple[str, Any]]:
    """Name and type of every payload field; the order of `Entry`, then the checksum."""
    numbers = {"first_line": pa.int32(), "last_line": pa.int32(), "size": pa.int64(), "mtime_ns": pa.int64()}
    kinds = {**numbers, "chunk": pa.int32(), "chunks": pa.int32()}
    return [
        (name, kinds.get(name, pa.string())) for name in [*(field.name for field in fields(Entry)), FIELD]
    ]
