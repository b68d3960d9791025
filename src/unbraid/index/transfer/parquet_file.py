"""An index as one Parquet file and back: base vectors, what they came from, checksums and provenance, as a stream."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from unbraid.errors import DataError, MissingExtraError, StoreError
from unbraid.index.store.checksum import FIELD, damage, identity_of, to_entry
from unbraid.index.store.entry import Entry
from unbraid.index.store.folder_store import Store
from unbraid.index.store.meta import FORMAT, Meta, meta_of
from unbraid.index.store.protocol import drop_older

ROWS = 2_000  # a row group: 4 MB of vectors, what either way holds in memory at a time
KIND = "unbraid index"


def write_index(store: Store, out: Path, say: Callable[[int], None]) -> int:
    """Write every item of `store` to `out`; it is there whole or not at all. Returns how many.

    Raises StoreError when an item is damaged, DataError when `out` cannot be written.
    """
    pa = _pyarrow()
    about = {"kind": KIND, **asdict(store.meta)}
    schema = pa.schema([*_columns(pa), ("vector", pa.list_(pa.float32(), store.meta.storage.dim))])
    temporary = out.with_name(out.name + ".new")
    count = 0
    try:
        with pa.parquet.ParquetWriter(
            temporary, schema.with_metadata({"unbraid": json.dumps(about)}), compression="zstd"
        ) as writer:
            for records in store.records():
                vectors = np.asarray([record.vector for record in records], np.float32)
                for record, vector in zip(records, vectors, strict=True):
                    if reason := damage(record.id, record.payload, vector):
                        raise StoreError(
                            f"an item of {store.folder} is damaged ({reason}): unbraid index verify {store.folder} --repair"
                        )
                payloads = [record.payload or {} for record in records]
                payloads = [{**one, "fields": json.dumps(one["fields"])} for one in payloads]
                arrays = [
                    pa.array([payload[name] for payload in payloads], kind) for name, kind in _columns(pa)
                ]
                rows = pa.FixedSizeListArray.from_arrays(
                    pa.array(vectors.reshape(-1)), store.meta.storage.dim
                )
                writer.write_batch(pa.record_batch([*arrays, rows], schema=schema), row_group_size=ROWS)
                count += len(records)
                say(len(records))
        with open(temporary, "rb") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, out)
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return count


class IndexFile:
    """A Parquet file that `write_index` wrote, open for reading."""

    def __init__(self, path: Path) -> None:
        """Read what the file says of itself. Raises DataError when it holds something else than an index."""
        self.path = path
        pa = _pyarrow()
        try:
            self._file = pa.parquet.ParquetFile(path)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{path}: cannot be read as Parquet: {error}") from error
        self.items = int(self._file.metadata.num_rows)
        self.meta = self._read_meta()

    def load(self, store: Store, say: Callable[[int], None]) -> int:
        """Put every item into `store`; returns how many. Doing it again after an interrupt adds nothing twice.

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
            payloads = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
            for number, (payload, vector) in enumerate(zip(payloads, vectors, strict=True)):
                if reason := damage(identity_of(payload), payload, vector):
                    raise DataError(f"{self.path}: row {done + number}: {reason}; export it again")
            base = self.meta.storage.widen(vectors, self.meta.dim)
            entries = [to_entry(payload) for payload in payloads]
            store.upsert(entries, base)
            files.update({entry.path: entry for entry in entries})
            done += len(payloads)
            say(len(payloads))
        drop_older(store, files)
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
                    f"{self.path}: is not what `unbraid index export` writes: index the files themselves"
                )
            if about["format"] != FORMAT:
                raise DataError(
                    f"{self.path}: has format {about['format']}, this unbraid reads {FORMAT}: export it again"
                )
            return meta_of(about)
        except (ValueError, TypeError, KeyError, StoreError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{self.path}: what it says of itself cannot be read: {error!r}") from error


def _columns(pa: Any) -> list[tuple[str, Any]]:
    """Name and type of every payload field; the order of `Entry`, then the checksum."""
    numbers = {"first_line": pa.int32(), "last_line": pa.int32(), "size": pa.int64(), "mtime_ns": pa.int64()}
    kinds = {**numbers, "chunk": pa.int32(), "chunks": pa.int32()}
    return [
        (name, kinds.get(name, pa.string())) for name in [*(field.name for field in fields(Entry)), FIELD]
    ]


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", "parquet") from error
    return pyarrow
