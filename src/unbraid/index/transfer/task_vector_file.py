"""Task vectors and where they come from in one file, written as a stream: .npy, .jsonl or .parquet.

What is written lies beside the file as FILE.new until it is whole and on the disk; then it takes the name. So a stop, of
whatever kind, leaves the old file or the new one. A .npy file holds numbers only: its rows are told in FILE.npy.json.
That is a second file, so the old one is removed before either is renamed, and never stands beside another array.
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from unbraid.errors import DataError, MissingExtraError
from unbraid.index.store.entry import Entry, point_id
from unbraid.io.atomic import sync_folder


@dataclass(frozen=True)
class Row:
    """What a vector belongs to: the fields of the index's own entry that say which chunk of which content it is."""

    id: str  # of the item in the index
    path: str
    modality: str
    first_line: int | None  # pages of a PDF, None for a picture
    last_line: int | None
    chunk: int
    sha256: str  # of the whole file


def row_of(entry: Entry) -> Row:
    """The row of an item of an index."""
    identity = str(point_id(entry.path, entry.sha256, entry.chunk))
    place = (entry.path, entry.modality, entry.first_line, entry.last_line)
    return Row(identity, *place, entry.chunk, entry.sha256)


class Writer(Protocol):
    """An open vector file."""

    def write(self, rows: Sequence[Row], vectors: np.ndarray) -> None:
        """Add `vectors` [n, d], one for each of `rows`."""
        ...

    def finish(self) -> None:
        """Write what comes last; called once, and nothing is added after it."""
        ...


@contextmanager
def task_file(out: Path, about: dict[str, Any], width: int, dtype: np.dtype[Any]) -> Iterator[Writer]:
    """A file for vectors of `width` numbers of `dtype`; it takes the name `out` when the block ends without an error.

    `about` says which bundle and mapper made them. Raises DataError when it cannot be written.
    """
    parts = [out, sidecar(out)] if out.suffix == ".npy" else [out]
    unfinished = [part.with_name(part.name + ".new") for part in parts]
    try:
        with ExitStack() as files:
            streams: list[IO[bytes]] = [files.enter_context(open(path, "wb")) for path in unfinished]
            writer = _WRITERS[out.suffix](streams, about, width, dtype)
            try:
                yield writer
            finally:
                writer.finish()  # also after an error: pyarrow closes what is open later, when its file is gone
            for stream in streams:
                stream.flush()
                os.fsync(stream.fileno())
        if len(parts) > 1:
            parts[1].unlink(missing_ok=True)
        for path, part in zip(unfinished, parts, strict=True):
            os.replace(path, part)
        sync_folder(out.absolute().parent)
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {error.strerror or error}") from error
    finally:
        for path in unfinished:
            path.unlink(missing_ok=True)


def sidecar(out: Path) -> Path:
    """The file that says what the rows of a .npy file are."""
    return out.with_name(out.name + ".json")


class _Npy:
    """Numbers in one file; {about..., "items": [row, ...]} in the other, written row by row."""

    def __init__(
        self, streams: list[IO[bytes]], about: dict[str, Any], width: int, dtype: np.dtype[Any]
    ) -> None:
        self._numbers, self._rows = streams
        self._shape, self._dtype, self._count = width, dtype, 0
        self._start = self._header()
        self._rows.write(json.dumps(about, ensure_ascii=False)[:-1].encode() + b', "items": [')

    def write(self, rows: Sequence[Row], vectors: np.ndarray) -> None:
        self._numbers.write(np.ascontiguousarray(vectors, self._dtype).data)
        for row in rows:
            self._rows.write((",\n" if self._count else "\n").encode() + _json(asdict(row)))
            self._count += 1

    def finish(self) -> None:
        self._rows.write(b"]}\n")
        self._numbers.seek(0)
        if self._header() != self._start:
            raise DataError(
                "numpy's header of a longer array takes more room: this is a bug, please report it"
            )

    def _header(self) -> int:
        """Write the header for the rows so far; numpy leaves room in it for any number of them. Returns its end."""
        about = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False}
        np.lib.format.write_array_header_1_0(self._numbers, {**about, "shape": (self._count, self._shape)})
        return self._numbers.tell()


class _JsonLines:
    """One object a vector: its row, `about`, its numbers."""

    def __init__(
        self, streams: list[IO[bytes]], about: dict[str, Any], width: int, dtype: np.dtype[Any]
    ) -> None:
        self._stream, self._about = streams[0], about

    def write(self, rows: Sequence[Row], vectors: np.ndarray) -> None:
        for row, vector in zip(rows, vectors, strict=True):
            self._stream.write(_json({**asdict(row), **self._about, "vector": vector.tolist()}) + b"\n")

    def finish(self) -> None:
        pass


class _Parquet:
    """A column a field of `Row`, and `vector`; `about` is metadata of the file."""

    def __init__(
        self, streams: list[IO[bytes]], about: dict[str, Any], width: int, dtype: np.dtype[Any]
    ) -> None:
        try:
            import pyarrow as pa
            import pyarrow.parquet
        except ImportError as error:
            raise MissingExtraError("pyarrow", "parquet") from error
        self._pa = pa
        numbers = dict.fromkeys(("first_line", "last_line", "chunk"), pa.int32())
        names = list(Row.__dataclass_fields__)
        vector = pa.list_(pa.from_numpy_dtype(dtype), width)
        schema = pa.schema([*((name, numbers.get(name, pa.string())) for name in names), ("vector", vector)])
        self._schema = schema.with_metadata({"unbraid": json.dumps(about)})
        # Floats have no repeats to look for: a dictionary of them took half as much room again in small row groups.
        repeated = ["path", "modality", "sha256"]
        self._writer = pa.parquet.ParquetWriter(
            streams[0], self._schema, compression="zstd", use_dictionary=repeated
        )

    def write(self, rows: Sequence[Row], vectors: np.ndarray) -> None:
        pa = self._pa
        columns = [
            pa.array([getattr(row, field.name) for row in rows], field.type)
            for field in list(self._schema)[:-1]
        ]
        flat = pa.array(np.ascontiguousarray(vectors).reshape(-1))
        columns.append(pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]))
        self._writer.write_batch(pa.record_batch(columns, schema=self._schema))

    def finish(self) -> None:
        try:
            self._writer.close()
        finally:
            self._writer.is_open = False  # on a full disk it would try again when it is collected


_WRITERS: dict[str, type[_Npy] | type[_JsonLines] | type[_Parquet]] = {
    ".npy": _Npy,
    ".jsonl": _JsonLines,
    ".parquet": _Parquet,
}


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
