"""One shard of vectors on disk: a Parquet file, written whole or not at all, that holds its provenance."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from unbraid.cluster.corpus import Shard
from unbraid.errors import DataError
from unbraid.io.atomic import atomic_file

KEY = b"unbraid"


def source_of(shard: Shard) -> dict[str, Any]:
    """The facts that tell a shard's rows from those of a changed input."""
    source = shard.source
    about = {"name": source.name, "rows": source.rows, "size": source.size, "mtime_ns": source.mtime_ns}
    return {**about, "first": shard.first, "last": shard.last}


def write_shard(
    out: Path,
    shard: Shard,
    ids: pa.Array,
    vectors: np.ndarray,
    reasons: Sequence[str | None],
    about: Mapping[str, Any],
) -> None:
    """Write one row for every row of `shard`: its id, its vector, and the reason where it has no vector.

    `vectors` is [n, d]; the vector of a row with a reason is null. Raises DataError when the file cannot be written.
    """
    path = out / shard.out
    rejected = np.array([reason is not None for reason in reasons], dtype=bool)
    values = pa.FixedSizeListArray.from_arrays(
        pa.array(vectors.reshape(-1)), vectors.shape[1], mask=pa.array(rejected)
    )
    table = pa.table({"id": ids, "vector": values, "error": pa.array(reasons, pa.string())})
    known = {**about, "source": source_of(shard), "rejected": int(rejected.sum())}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A worker that Ray took for dead may still write the same shard.
        with atomic_file(path, many_writers=True) as unfinished:
            # A dictionary of vectors costs time and saves nothing: their numbers do not repeat.
            pq.write_table(
                table.replace_schema_metadata({KEY: json.dumps(known)}),
                unfinished,
                use_dictionary=["id", "error"],
            )
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from error


def read_about(path: Path) -> dict[str, Any]:
    """The metadata of a shard's file. Raises DataError for a file that is no shard."""
    try:
        about = json.loads((pq.read_schema(path).metadata or {})[KEY])
        if isinstance(about, dict) and {"source", "rejected"} <= set(about):
            return about
    except (OSError, pa.ArrowException, KeyError, ValueError):
        pass
    raise DataError(f"{path} is not a shard of vectors: choose another folder for --out, or remove the file")
