"""Teacher vectors on disk: Parquet shards of items with one float16 vector per teacher route.

A shard is written whole or not at all, so that labelling goes on where it stopped. Training reads shards and
never sees the teacher.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unbraid.errors import DataError

MANIFEST = "labels.json"


@dataclass(frozen=True)
class Labels:
    """Items and their teacher vectors: `vectors` maps each route to float16 [n, dim]."""

    texts: list[str]
    modalities: list[str]
    anchors: list[str]
    vectors: dict[str, np.ndarray]


def open_labels(folder: Path, description: dict[str, object]) -> None:
    """Create `folder` for labels of this `description` (teacher id, items), or check that it holds the same.

    Raises DataError when the folder holds labels of another teacher or other items.
    """
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / MANIFEST
    if manifest.exists():
        try:
            found = json.loads(manifest.read_text())
        except ValueError as error:
            raise DataError(f"{manifest}: not JSON: {error}: delete the folder and label again") from error
        if found != description:
            raise DataError(
                f"{manifest}: holds labels of {found}, asked for {description}: choose another folder"
            )
        return
    _replace(manifest, json.dumps(description, indent=1).encode())


def shard_path(folder: Path, number: int) -> Path:
    """Path of shard `number`."""
    return folder / f"labels-{number:05d}.parquet"


def write_shard(path: Path, labels: Labels) -> None:
    """Write one shard; the file appears under its name only when it is complete and on disk."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, pa.Array] = {
        "text": pa.array(labels.texts),
        "modality": pa.array(labels.modalities),
        "anchor": pa.array(labels.anchors),
    }
    for route, vectors in labels.vectors.items():
        flat = pa.array(vectors.astype(np.float16).reshape(-1))
        columns[f"route:{route}"] = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, compression="zstd", write_page_checksum=True)
    _replace(path, sink.getvalue().to_pybytes())


def read_shard(path: Path) -> Labels:
    """Read one shard. Raises DataError when it is not a label shard, or is damaged."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, page_checksum_verification=True).combine_chunks()
        routes = [name for name in table.column_names if name.startswith("route:")]
        vectors = {}
        for name in routes:
            column = table[name].combine_chunks()
            flat = pc.list_flatten(column).to_numpy(zero_copy_only=False)
            vectors[name.removeprefix("route:")] = flat.reshape(len(column), -1)
        return Labels(
            table["text"].to_pylist(), table["modality"].to_pylist(), table["anchor"].to_pylist(), vectors
        )
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise DataError(f"{path}: not a label shard: {error}") from error


def read_shards(folder: Path) -> Iterator[Labels]:
    """Every complete shard of `folder`, in order. Raises DataError when there is none."""
    paths: Sequence[Path] = sorted(folder.glob("labels-*.parquet"))
    if not paths:
        raise DataError(f"{folder}: no label shards here: run `unbraid label` first")
    return (read_shard(path) for path in paths)


def check_complete(folder: Path) -> None:
    """Raise DataError when `folder` holds fewer items than its labelling was started for."""
    import pyarrow.parquet as pq

    manifest = folder / MANIFEST
    if not manifest.exists():
        raise DataError(f"{manifest}: not found: run `unbraid label` first")
    wanted = json.loads(manifest.read_text())["items"]
    found = sum(pq.read_metadata(path).num_rows for path in folder.glob("labels-*.parquet"))
    if found != wanted:
        raise DataError(f"{folder}: {found} of {wanted} items are labelled: run `unbraid label` again")


def _replace(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that a crash leaves the old file or the new one, never a part."""
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
