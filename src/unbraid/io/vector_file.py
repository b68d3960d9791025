"""Vectors in one file that says where they come from, written as a stream: .npy, .jsonl or .parquet.

A .npy file holds numbers only, so FILE.npy.json describes its rows. The old description is removed before the two new
files are renamed, so no description ever stands beside another array.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from unbraid.embedder import Embedder
from unbraid.errors import DataError, MissingExtraError
from unbraid.io.atomic import atomic_file
from unbraid.io.surrogates import replace_lone_surrogates

SUFFIXES = (".npy", ".jsonl", ".parquet")
Columns = Mapping[str, type]  # what is known of each vector: name -> str or int
Row = Mapping[str, str | int | None]


def provenance(model: Embedder, task: str | None, numbers: str) -> dict[str, Any]:
    """What decides whether two vector files may be compared: bundle, base, mapper, stored numbers."""
    return {
        "bundle": model.name,
        "base_id": model.base_id,
        "task": task,
        "mapper_id": model.bundle.mappers[task].id if task else None,
        "numbers": numbers,
    }


def check_suffix(path: Path) -> None:
    """Raise DataError unless `path` has a known suffix and lies in a folder that exists, before any work is done."""
    if path.suffix not in SUFFIXES:
        raise DataError(f"{path}: unknown kind of vector file {path.suffix!r}: use {', '.join(SUFFIXES)}")
    if not path.absolute().parent.is_dir():
        raise DataError(f"{path}: its folder does not exist")
    if path.suffix == ".parquet":
        pyarrow()


def pyarrow() -> Any:
    """The library with its Parquet module; typed Any, since it is optional. Raises MissingExtraError."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", "parquet") from error
    return pyarrow


def json_row(row: Row, about: Mapping[str, Any], vector: np.ndarray) -> str:
    """One JSON object: the row of a vector, its provenance, its numbers."""
    return replace_lone_surrogates(
        json.dumps({**row, **about, "vector": vector.tolist()}, ensure_ascii=False)
    )


@dataclass
class Writer:
    """An open vector file; `streams` holds the file, and for .npy also its description."""

    streams: Sequence[IO[bytes]]
    about: Mapping[str, Any]
    columns: Columns
    width: int
    dtype: np.dtype[Any]

    def start(self) -> None:
        """Write what comes first."""

    def write(self, rows: Sequence[Row], vectors: np.ndarray) -> None:
        """Add `vectors` [n, d], one for each of `rows`."""
        raise NotImplementedError

    def finish(self) -> None:
        """Write what comes last; called once, and nothing is added after it."""


@contextmanager
def vector_file(
    out: Path, about: Mapping[str, Any], columns: Columns, width: int, dtype: np.dtype[Any]
) -> Iterator[Writer]:
    """A file for vectors of `width` numbers of `dtype`; it takes the name `out` when the block ends without an error.

    `about` says what made them: metadata of a .parquet file, part of every .jsonl row, part of FILE.npy.json. Raises
    DataError when the file cannot be written, MissingExtraError for .parquet without pyarrow.
    """
    sidecar = out.with_name(out.name + ".json")
    try:
        with ExitStack() as names, ExitStack() as files:
            # Names are given in the reverse order: first to the array, then to its description.
            parts = [sidecar, out] if out.suffix == ".npy" else [out]
            paths = [names.enter_context(atomic_file(part)) for part in parts]
            streams: list[IO[bytes]] = [files.enter_context(open(path, "wb")) for path in paths]
            writer = _WRITERS[out.suffix](streams[::-1], about, columns, width, dtype)
            writer.start()
            try:
                yield writer
            finally:
                writer.finish()  # also after an error: otherwise pyarrow closes its writer later, when the file is gone
            if out.suffix == ".npy":
                sidecar.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {error.strerror or error}") from error


class _Npy(Writer):
    """Numbers in one file; {about..., "items": [row, ...]} in the other. Rows of one column are written as its value."""

    def start(self) -> None:
        self.count = 0
        self.begin = self._header()
        self.streams[1].write(json.dumps(self.about, ensure_ascii=False)[:-1].encode() + b', "items": [')

    def write(self, rows: Sequence[Row], vectors: np.ndarray) -> None:
        self.streams[0].write(np.ascontiguousarray(vectors, self.dtype).data)
        for row in rows:
            value = row if len(row) > 1 else next(iter(row.values()))
            text = replace_lone_surrogates(json.dumps(value, ensure_ascii=False))
            self.streams[1].write(((",\n" if self.count else "\n") + text).encode())
            self.count += 1

    def finish(self) -> None:
        self.streams[1].write(b"]}\n")
        self.streams[0].seek(0)
        if self._header() != self.begin:
            raise DataError(
                "numpy's header of a longer array takes more room: this is a bug, please report it"
            )

    def _header(self) -> int:
        """Write the header for the rows so far; numpy leaves room in it for any number of them. Returns its end."""
        about = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False}
        shape = {"shape": (self.count, self.width)}
        np.lib.format.write_array_header_1_0(self.streams[0], {**about, **shape})
        return self.streams[0].tell()


class _JsonLines(Writer):
    """One object a vector: its row, `about`, its numbers."""

    def write(self, rows: Sequence[Row], vectors: np.ndarray) -> None:
        for row, vector in zip(rows, vectors, strict=True):
            self.streams[0].write(json_row(row, self.about, vector).encode() + b"\n")


class _Parquet(Writer):
    """A column for each of `columns`, and `vector`; `about` is metadata of the file."""

    def start(self) -> None:
        pa = self.pa = pyarrow()
        kinds = {str: pa.string(), int: pa.int32()}
        vector = pa.list_(pa.from_numpy_dtype(self.dtype), self.width)
        schema = pa.schema(
            [*((name, kinds[kind]) for name, kind in self.columns.items()), ("vector", vector)]
        )
        self.schema = schema.with_metadata({"unbraid": json.dumps(self.about)})
        # Floats have no repeats to look for: a dictionary of them took half as much room again in small row groups.
        words = [name for name, kind in self.columns.items() if kind is str]
        self.file = pa.parquet.ParquetWriter(
            self.streams[0], self.schema, compression="zstd", use_dictionary=words
        )

    def write(self, rows: Sequence[Row], vectors: np.ndarray) -> None:
        pa = self.pa
        fields = list(self.schema)[:-1]
        columns = [pa.array([row[field.name] for row in rows], field.type) for field in fields]
        flat = pa.array(np.ascontiguousarray(vectors).reshape(-1))
        columns.append(pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]))
        self.file.write_batch(pa.record_batch(columns, schema=self.schema))

    def finish(self) -> None:
        close_parquet(self.file)


def close_parquet(file: Any) -> None:
    """Close a ParquetWriter, once: after an error on a full disk it would try again when it is collected."""
    try:
        file.close()
    finally:
        file.is_open = False


_WRITERS: dict[str, type[Writer]] = {".npy": _Npy, ".jsonl": _JsonLines, ".parquet": _Parquet}
