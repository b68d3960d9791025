"""One shard: a Parquet file of teacher vectors with its own hash, so that a changed byte is noticed."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unbraid.errors import DataError
from unbraid.io.atomic import write_atomic

ROUTE = "route:"  # what the names of vector columns start with
DESCRIPTION = b"unbraid.description"
SEAL = b"unbraid.sha256"
MARK = b"unbraid:sha256:"  # what the seal's value starts with
UNSEALED = b"0" * 64


@dataclass(frozen=True)
class Labels:
    """Items and their teacher vectors: `vectors` maps each route to float16 [n, dim].

    The text of a picture is where it came from. `keys` tell items apart, see `item_key`.
    """

    texts: list[str]
    modalities: list[str]
    anchors: list[str]
    vectors: dict[str, np.ndarray]
    keys: list[str]

    def take(self, rows: Sequence[int]) -> "Labels":
        """The items at `rows`, in that order."""
        return Labels(
            [self.texts[row] for row in rows],
            [self.modalities[row] for row in rows],
            [self.anchors[row] for row in rows],
            {route: vectors[rows] for route, vectors in self.vectors.items()},
            [self.keys[row] for row in rows],
        )


def item_key(modality: str, content: bytes) -> str:
    """The key of an item: SHA-256 of its modality and its content, in hex.

    The content of a text or code snippet is its UTF-8. That of a picture is the bytes of its file, not its pixels:
    they do not depend on the decoder's release, and resuming does not decode. The same pixels in two files are two
    items.
    """
    return hashlib.sha256(modality.encode() + b"\0" + content).hexdigest()


def text_key(modality: str, text: str) -> str:
    """The key of a text or a code snippet."""
    return item_key(modality, text.encode())


def write_shard(path: Path, labels: Labels, description: Mapping[str, object]) -> None:
    """Write one shard, which carries the `description` of its store.

    The file appears under its name only when it is complete and on disk. Raises DataError when it cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, pa.Array] = {
        "key": pa.array(labels.keys, pa.string()),
        "modality": pa.array(labels.modalities, pa.string()),
        "text": pa.array(labels.texts, pa.string()),
        "anchor": pa.array(labels.anchors, pa.string()),
    }
    for route, vectors in labels.vectors.items():
        flat = pa.array(vectors.astype(np.float16).reshape(-1))
        columns[ROUTE + route] = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    about = {DESCRIPTION: json.dumps(description).encode(), SEAL: MARK + UNSEALED}
    sink = pa.BufferOutputStream()
    table = pa.table(columns).replace_schema_metadata(about)
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    try:
        write_atomic(path, _sealed(sink.getvalue().to_pybytes()))
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from error


def read_shard(path: Path) -> tuple[Labels, dict[str, Any]]:
    """One shard and the description it carries. Raises DataError when it is not a label shard, or is damaged."""
    import pyarrow.compute as pc

    table, description = _read(path)
    vectors = {}
    for name in table.column_names:
        if name.startswith(ROUTE):
            flat = pc.list_flatten(table[name].combine_chunks()).to_numpy(zero_copy_only=False)
            vectors[name.removeprefix(ROUTE)] = flat.reshape(len(table), -1)
    labels = Labels(
        texts=table["text"].to_pylist(),
        modalities=table["modality"].to_pylist(),
        anchors=table["anchor"].to_pylist(),
        vectors=vectors,
        keys=table["key"].to_pylist(),
    )
    return labels, description


def read_keys(path: Path) -> tuple[list[str], dict[str, Any]]:
    """The keys of one shard and the description it carries. Raises DataError as `read_shard` does."""
    table, description = _read(path, ["key"])
    return table["key"].to_pylist(), description


def _read(path: Path, columns: list[str] | None = None) -> tuple[Any, dict[str, Any]]:
    """A pyarrow table of a shard, and its description; the hash is checked before anything is parsed."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        content = path.read_bytes()
        if not _seal_holds(content):
            raise ValueError("it changed after it was written, or `unbraid train label` did not write it")
        table = pq.read_table(pa.BufferReader(content), columns=columns).combine_chunks()
        return table, json.loads(table.schema.metadata[DESCRIPTION])
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise DataError(
            f"{path}: not a label shard: {error}: delete it, run `unbraid train label` again"
        ) from error


def _sealed(content: bytes) -> bytes:
    """The bytes of a shard with their hash in place of the zeros in the metadata.

    Parquet's page checksums do not cover the footer: of 7,500 flips of a bit or byte in a small shard, 5 in the footer
    changed the numbers that pyarrow read, without an error.
    """
    start = _seal_start(content)
    return content[:start] + hashlib.sha256(content).hexdigest().encode() + content[start + 64 :]


def _seal_holds(content: bytes) -> bool:
    """Whether `content` is what `_sealed` gave."""
    start = _seal_start(content)
    unsealed = content[:start] + UNSEALED + content[start + 64 :]
    return content[start : start + 64] == hashlib.sha256(unsealed).hexdigest().encode()


def _seal_start(content: bytes) -> int:
    """Where the seal's 64 digits start. The last mark is the one: metadata stand behind all pages and statistics."""
    return content.rfind(MARK) + len(MARK)
