"""Writing vectors to a file that says where they come from: .npy, .jsonl or .parquet."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unbraid.embedder import Embedder
from unbraid.errors import DataError, MissingExtraError

SUFFIXES = (".npy", ".jsonl", ".parquet")


def provenance(model: Embedder, task: str | None, numbers: str) -> dict[str, Any]:
    """What decides whether two vector files may be compared: bundle, base, mapper, stored numbers."""
    return {
        "bundle": model.name,
        "base_id": model.base_id,
        "task": task,
        "mapper_id": model.bundle.mappers[task].id if task else None,
        "numbers": numbers,
    }


def printable(name: str) -> str:
    """`name` with what is not UTF-8 in a file name as U+FFFD, so that every kind of file can hold it."""
    return name.encode("utf-8", "replace").decode()


def json_rows(names: Sequence[str], vectors: np.ndarray, about: dict[str, Any]) -> Iterator[str]:
    """One JSON object a vector: its item, its provenance, its numbers."""
    for name, vector in zip(names, vectors, strict=True):
        yield json.dumps({"item": name, **about, "vector": vector.tolist()}, ensure_ascii=False)


def write_vectors(path: Path, names: Sequence[str], vectors: np.ndarray, about: dict[str, Any]) -> None:
    """Write `vectors` [n, d] and the `names` of their items to `path`, by its suffix.

    A .npy file holds the array alone, so what it is about lies beside it in PATH.json; .jsonl rows and
    .parquet metadata carry it themselves. Raises DataError for another suffix or a folder that does not exist,
    MissingExtraError for .parquet without pyarrow.
    """
    check_suffix(path)
    try:
        if path.suffix == ".npy":
            np.save(path, vectors)
            beside = {**about, "items": list(names)}
            path.with_name(path.name + ".json").write_text(
                json.dumps(beside, ensure_ascii=False, indent=1), encoding="utf-8"
            )
        elif path.suffix == ".jsonl":
            lines = json_rows(names, vectors, about)
            path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        else:
            _write_parquet(path, names, vectors, about)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from error


def check_suffix(path: Path) -> None:
    """Raise DataError unless `path` has a suffix that `write_vectors` knows, before any work is done."""
    if path.suffix not in SUFFIXES:
        raise DataError(f"{path}: unknown kind of vector file {path.suffix!r}: use {', '.join(SUFFIXES)}")
    if not path.absolute().parent.is_dir():
        raise DataError(f"{path}: its folder does not exist")
    if path.suffix == ".parquet":
        _pyarrow()


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", "parquet") from error
    return pyarrow


def _write_parquet(path: Path, names: Sequence[str], vectors: np.ndarray, about: dict[str, Any]) -> None:
    pa = _pyarrow()
    values = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
    table = pa.table({"item": list(names), "vector": values})
    table = table.replace_schema_metadata({"unbraid": json.dumps(about)})
    pa.parquet.write_table(table, path)
