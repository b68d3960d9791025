"""The corpus to encode: Parquet files, split into shards that are the same in every run."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from unbraid.errors import DataError
from unbraid.items import MODALITIES, Modality

SUFFIX = ".parquet"
BATCH = 512  # rows decoded at a time; a row may hold a picture


@dataclass(frozen=True)
class Columns:
    """The input's columns of ids and of content, and the modality of the content."""

    id: str
    content: str
    modality: Modality


@dataclass(frozen=True)
class Source:
    """One input file; `name` is its path below the given folder, without suffix. Size and mtime tell when it changes."""

    path: str  # absolute
    name: str
    rows: int
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Shard:
    """Rows `first` to `last` (exclusive) of a source; they become one output file, `out`."""

    source: Source
    first: int
    last: int

    @property
    def out(self) -> str:
        """Path below the output folder."""
        return f"{self.source.name}-{self.first:012d}{SUFFIX}"

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.last - self.first


def find_sources(paths: Sequence[Path]) -> list[Source]:
    """The Parquet files among and below `paths`, by name. Raises DataError when there are none."""
    found = [
        (file, file.relative_to(path if path.is_dir() else path.parent).with_suffix("").as_posix())
        for path in map(Path.absolute, paths)
        for file in (parquet_files(path) if path.is_dir() else [path])
    ]
    if not found:
        raise DataError(f"no {SUFFIX} files in {', '.join(map(str, paths))}")
    sources = [_source(file, name) for file, name in sorted(found, key=lambda one: one[1])]
    for one, other in pairwise(sources):
        if one.name == other.name:
            raise DataError(
                f"{one.path} and {other.path} would have the same output: give their common folder instead"
            )
    return sources


def parquet_files(folder: Path) -> Iterator[Path]:
    """Parquet files below a folder, without hidden and "_" ones, which pyarrow's data sets skip too."""
    for path in folder.rglob(f"*{SUFFIX}"):
        if path.is_file() and not any(part[0] in "._" for part in path.relative_to(folder).parts):
            yield path


def find_columns(
    sources: Sequence[Source], id: str, content: str | None, modality: Modality | None
) -> Columns:
    """The columns of a corpus; without `content` it is the column named text, code or image.

    Raises DataError when no or several columns have such a name, or when the column's type does not fit the modality.
    """
    source = sources[0]
    schema = pq.read_schema(source.path)
    names = schema.names
    if content is None:
        fitting = [name for name in MODALITIES if name in names]
        if len(fitting) != 1:
            what = f"columns {' and '.join(fitting)}" if fitting else "no column text, code or image"
            raise DataError(
                f"{source.path} has {what}: name the one to encode with --column; it has {', '.join(names)}"
            )
        content = fitting[0]
    if modality is None:
        modality = next((name for name in MODALITIES if name == content), None)
    if modality is None:
        raise DataError(f"say what column {content!r} holds with --modality text, code or image")
    columns = Columns(id, content, modality)
    for source in sources:
        _check_schema(source, pq.read_schema(source.path), columns)
    return columns


def split_into_shards(sources: Sequence[Source], rows: int) -> list[Shard]:
    """Shards of `rows` rows of every source; the last shard of a source may be shorter."""
    return [
        Shard(source, first, min(first + rows, source.rows))
        for source in sources
        for first in range(0, source.rows, rows)
    ]


def read_rows(shard: Shard, columns: Columns) -> tuple[pa.Array, list[Any]]:
    """Ids of a shard's rows as stored, and their content: a string, bytes of a picture, or None.

    A string that is not UTF-8 has surrogates where it is broken. Raises DataError when the file has changed since the
    run began, or cannot be read.
    """
    path = shard.source.path
    try:
        with open(path, "rb") as stream:
            status = os.fstat(stream.fileno())
            if (status.st_size, status.st_mtime_ns) != (shard.source.size, shard.source.mtime_ns):
                raise DataError(f"{path} has changed since this run began: run again")
            table = pa.Table.from_batches(_slice(pq.ParquetFile(stream), shard, columns))
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: rows {shard.first} to {shard.last} cannot be read: {error}") from error
    ids = table[columns.id].combine_chunks()
    return ids, [value for chunk in table[columns.content].chunks for value in _values(chunk)]


def _check_schema(source: Source, schema: pa.Schema, columns: Columns) -> None:
    """Raise DataError unless `schema` has the columns and the content's type fits its modality."""
    for name in (columns.id, columns.content):
        if name not in schema.names:
            option = "--id" if name == columns.id else "--column"
            raise DataError(
                f"{source.path} has no column {name!r}, it has {', '.join(schema.names)}: name one with {option}"
            )
    kind = schema.field(columns.content).type
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    data = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    pair = pa.types.is_struct(kind) and {"bytes", "path"} <= {field.name for field in kind}
    if not (text or (columns.modality == "image" and (data or pair))):
        wanted = "path or bytes, or both as {bytes, path}" if columns.modality == "image" else "string"
        raise DataError(
            f"{source.path}: column {columns.content!r} is {kind}, and {columns.modality} has to be {wanted}"
        )


def _slice(file: pq.ParquetFile, shard: Shard, columns: Columns) -> Iterator[pa.RecordBatch]:
    """The batches of a shard's rows, read from the row groups that hold them."""
    groups: list[int] = []
    start = place = 0  # `start` is the first row of the first group taken
    for number in range(file.num_row_groups):
        rows = file.metadata.row_group(number).num_rows
        if place < shard.last and place + rows > shard.first:
            start = place if not groups else start
            groups.append(number)
        place += rows
    names = list(dict.fromkeys([columns.id, columns.content]))
    for batch in file.iter_batches(BATCH, row_groups=groups, columns=names):
        first, last = max(shard.first - start, 0), min(shard.last - start, batch.num_rows)
        if first < last:
            yield batch.slice(first, last - first)
        start += batch.num_rows


def _values(array: pa.Array) -> list[Any]:
    """The rows' contents: bytes, strings (maybe broken UTF-8), or of {bytes, path} the one that is set."""
    if pa.types.is_struct(array.type):
        fields = array.flatten()  # not `field`, which forgets that the array may be a slice
        data, paths = (_values(fields[array.type.get_field_index(name)]) for name in ("bytes", "path"))
        return [path if one is None else one for one, path in zip(data, paths, strict=True)]
    values = array.cast(pa.large_binary()).to_pylist()
    if pa.types.is_binary(array.type) or pa.types.is_large_binary(array.type):
        return list(values)
    # Arrow itself raises for a whole column when one string in it is broken.
    return [None if one is None else one.decode("utf-8", "surrogateescape") for one in values]


def _source(path: Path, name: str) -> Source:
    try:
        status = path.stat()
        rows = pq.read_metadata(path).num_rows
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read as Parquet: {error}") from error
    return Source(str(path), name, rows, status.st_size, status.st_mtime_ns)
