"""One shard of vectors on disk: a Parquet file that is there whole or not at all, and says where it comes from."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from unbraid.cluster.corpus import Shard
from unbraid.errors import DataError
from unbraid.io.atomic import sync_folder

KEY = b"unbraid"
UNFINISHED = ".unfinished"  # ends the name of a file that is being written; its name begins with a dot


def source_of(shard: Shard) -> dict[str, Any]:
    """What a shard's file says of the rows it was made from; another after the input has changed."""
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
    """Write one row for every row of `shard`: its id, its vector, and why it has none.

    `vectors` is [n, d]; the vector of a row with a reason is null. Raises DataError when the file cannot be written.
    """
    path = out / shard.out
    rejected = np.array([reason is not None for reason in reasons], dtype=bool)
    values = pa.FixedSizeListArray.from_arrays(
        pa.array(vectors.reshape(-1)), vectors.shape[1], mask=pa.array(rejected)
    )
    table = pa.table({"id": ids, "vector": values, "error": pa.array(reasons, pa.string())})
    known = {**about, "source": source_of(shard), "rejected": int(rejected.sum())}
    # A worker that was thought dead may still write the same shard: each has a file of its own.
    temporary = path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}{UNFINISHED}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as stream:
            # Numbers of a vector do not repeat, so a dictionary of them is work for nothing.
            pq.write_table(
                table.replace_schema_metadata({KEY: json.dumps(known)}),
                stream,
                use_dictionary=["id", "error"],
            )
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from error


def read_about(path: Path) -> dict[str, Any]:
    """What a shard's file says of itself. Raises DataError for a file that is no shard."""
    try:
        about = json.loads((pq.read_schema(path).metadata or {})[KEY])
        if isinstance(about, dict) and {"source", "rejected"} <= set(about):
            return about
    except (OSError, pa.ArrowException, KeyError, ValueError):
        pass
    raise DataError(f"{path} is not a shard of vectors: choose another folder for --out, or take it away")
