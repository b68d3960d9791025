"""Multi-vectors in one file that says where they come from, written as a stream: .parquet or .jsonl."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from unbraid.errors import DataError
from unbraid.io.atomic import atomic_file
from unbraid.io.surrogates import replace_lone_surrogates
from unbraid.io.vector_file import check_suffix, close_parquet, pyarrow


@dataclass(frozen=True)
class Row:
    """One item's vectors [tokens, dim]; `weights` [tokens] of its tokens in a query, None where vectors were pooled."""

    item: str
    vectors: NDArray[np.floating[Any]]
    weights: NDArray[np.float32] | None = None


def check_ragged(path: Path) -> None:
    """Raise DataError unless `path` is a kind of file whose rows may differ in length, in a folder that exists."""
    if path.suffix == ".npy":
        raise DataError(
            f"{path}: an array has rows of one length, and texts differ in tokens: use .parquet or .jsonl"
        )
    check_suffix(path)


def json_line(row: Row, about: Mapping[str, Any]) -> str:
    """One JSON object: the item, its provenance, its vectors, and their weights where there are some."""
    weights = {} if row.weights is None else {"weights": row.weights.tolist()}
    values = {"item": row.item, **about, **weights, "vectors": row.vectors.tolist()}
    return replace_lone_surrogates(json.dumps(values, ensure_ascii=False))


class Writer(Protocol):
    """An open file of multi-vectors."""

    def write(self, rows: Sequence[Row]) -> None:
        """Add `rows`, at least one."""


@contextmanager
def multi_vector_file(
    out: Path, about: Mapping[str, Any], dim: int, dtype: DTypeLike, *, weights: bool
) -> Iterator[Writer]:
    """A file for vectors of `dim` numbers of `dtype`; it takes the name `out` when the block ends without an error.

    A .parquet file has the columns item (string), vectors (list<fixed_size_list<dtype, dim>>), with `weights` also weights
    (list<float>), and `about` as metadata under "unbraid"; a .jsonl file has `about` in every row. Raises DataError when the
    file cannot be written, MissingExtraError for .parquet without pyarrow.
    """
    try:
        with atomic_file(out) as path, open(path, "wb") as stream:
            if out.suffix == ".jsonl":
                yield _JsonLines(stream, about)
                return
            pa = pyarrow()
            numbers = pa.list_(pa.from_numpy_dtype(np.dtype(dtype)), dim)
            fields = [("item", pa.string()), ("vectors", pa.list_(numbers))]
            schema = pa.schema(fields + [("weights", pa.list_(pa.float32()))] * weights)
            schema = schema.with_metadata({"unbraid": json.dumps(about)})
            file = pa.parquet.ParquetWriter(stream, schema, compression="zstd", use_dictionary=["item"])
            try:
                yield _Parquet(file, schema)
            finally:
                close_parquet(file)
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {error.strerror or error}") from error


@dataclass
class _JsonLines:
    stream: IO[bytes]
    about: Mapping[str, Any]

    def write(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self.stream.write(json_line(row, self.about).encode() + b"\n")


@dataclass
class _Parquet:
    """Any: pyarrow is optional and has no types."""

    file: Any
    schema: Any

    def write(self, rows: Sequence[Row]) -> None:
        pa, schema = pyarrow(), self.schema
        kind = schema.field("vectors").type.value_type
        dim, dtype = kind.list_size, kind.value_type.to_pandas_dtype()
        ends = pa.array(np.cumsum([0, *(len(row.vectors) for row in rows)]), pa.int32())
        numbers = pa.array(np.concatenate([row.vectors for row in rows]).astype(dtype).ravel())
        columns = [
            pa.array([row.item for row in rows], pa.string()),
            pa.ListArray.from_arrays(ends, pa.FixedSizeListArray.from_arrays(numbers, dim)),
        ]
        if "weights" in schema.names:
            weights = [row.weights for row in rows if row.weights is not None]
            columns.append(pa.ListArray.from_arrays(ends, pa.array(np.concatenate(weights))))
        self.file.write_batch(pa.record_batch(columns, schema=schema))
