"""Base vectors and what they came from, kept in a folder by Qdrant Edge.

    FOLDER/unbraid.json   format version, base id, dim, the unbraid version that made it
    FOLDER/shard/         the Edge shard: one point per chunk, its base vector and an `Entry` as payload

A write has happened when the call returns: Edge keeps a write-ahead log, and every write here ends in a flush.
"""

import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Self

import numpy as np
import qdrant_edge as edge

from unbraid.errors import StoreError
from unbraid.index.model import Vectors
from unbraid.items import Modality

FORMAT = 1
META_FILE = "unbraid.json"
SHARD_FOLDER = "shard"
SCROLL = 10_000
_NAMESPACE = uuid.UUID(
    "5d1c6c0e-3c55-5b0e-9f4e-0a6f6c1c2f11"
)  # any fixed value: ids must not change between runs


@dataclass(frozen=True)
class Entry:
    """One chunk of one file, the payload of a point; lines count from 1 and are None for a picture."""

    path: str  # absolute, with forward slashes
    modality: Modality
    first_line: int | None
    last_line: int | None
    snippet: str
    sha256: str  # of the whole file
    size: int  # of the file, with mtime_ns the quick sign that it has not changed
    mtime_ns: int
    chunk: int  # this chunk's place among the file's `chunks`
    chunks: int


@dataclass(frozen=True)
class Meta:
    """What `unbraid.json` says: vectors of another base or length are not comparable with these."""

    format: int
    base_id: str
    dim: int
    unbraid: str


@dataclass
class FileState:
    """What the index holds of one file; `points` of `expected` chunks of content `sha256` are in."""

    sha256: str
    size: int
    mtime_ns: int
    expected: int
    points: int = 0
    versions: int = 1

    @property
    def complete(self) -> bool:
        """False when a run was cut off within this file, so that it must be indexed again."""
        return self.versions == 1 and self.points == self.expected


@dataclass(frozen=True)
class Stats:
    """Size of an index: files and chunks by modality, and bytes it takes on disk."""

    files: int
    chunks: dict[str, int]
    bytes: int


def read_meta(folder: str | Path) -> Meta:
    """What the index in `folder` was made with, without opening it. Raises StoreError when it is not an index."""
    path = Path(folder) / META_FILE
    try:
        meta = Meta(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise StoreError(f"{folder} is not an unbraid index: it has no {META_FILE}") from None
    except (OSError, ValueError, TypeError) as error:
        raise StoreError(f"cannot read {path}: {error}; make the index again") from error
    if meta.format != FORMAT:
        raise StoreError(
            f"{path} has format {meta.format}, this unbraid reads {FORMAT}; make the index again"
        )
    return meta


class Store:
    """An open index; close it, or use it in a `with` block. One process at a time."""

    def __init__(self, folder: Path, meta: Meta, shard: edge.EdgeShard) -> None:
        """Use `Store.open`."""
        self.folder = folder
        self.meta = meta
        self._shard = shard

    @classmethod
    def open(cls, folder: str | Path, *, base_id: str, dim: int, create: bool = False) -> Self:
        """The index in `folder`; `create` makes one where there is nothing or an empty folder.

        Raises StoreError when there is no index, when it was made with another base id or dim or format, or when
        it is open elsewhere.
        """
        folder = Path(folder)
        try:
            if create and (not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))):
                folder.mkdir(parents=True, exist_ok=True)
                _write_meta(folder, Meta(FORMAT, base_id, dim, metadata_version()))
        except OSError as error:
            raise StoreError(f"cannot make an index in {folder}: {error}") from error
        if not folder.is_dir():
            raise StoreError(f"no index at {folder}; make one with: unbraid index PATH --into {folder}")
        meta = read_meta(folder)
        if (meta.base_id, meta.dim) != (base_id, dim):
            raise StoreError(
                f"{folder} holds vectors of base {meta.base_id} ({meta.dim} dimensions), the model makes"
                f" {base_id} ({dim} dimensions): load the model it was made with, or index into another folder"
            )
        return cls(folder, meta, _open_shard(folder / SHARD_FOLDER, dim))

    def close(self) -> None:
        """Release the folder for other processes; a second call does nothing."""
        self._shard.close()

    def __enter__(self) -> Self:
        """The store itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def upsert(self, entries: Sequence[Entry], vectors: Vectors) -> None:
        """Add or replace `entries` with their base vectors [n, dim]; on disk when this returns."""
        if vectors.shape != (len(entries), self.meta.dim) or not np.isfinite(vectors).all():
            raise StoreError(
                f"expected {len(entries)} finite vectors of {self.meta.dim} dimensions, got {vectors.shape}"
                f" with {int((~np.isfinite(vectors)).sum())} values not finite"
            )
        rows = vectors.astype(np.float32).tolist()
        points = [
            edge.Point(point_id(entry.path, entry.sha256, entry.chunk), row, asdict(entry))
            for entry, row in zip(entries, rows, strict=True)
        ]
        self._update(edge.UpdateOperation.upsert_points(points))

    def delete(self, paths: Iterable[str]) -> None:
        """Remove every chunk of `paths`; gone from the disk when this returns, as with all that follow."""
        self._update(*(edge.UpdateOperation.delete_points_by_filter(_where("path", path)) for path in paths))

    def delete_older(self, files: Iterable[Entry]) -> None:
        """Remove every chunk of each entry's path that is not of the entry's content."""
        operations = []
        for file in files:
            kept: set[edge.PointId] = {point_id(file.path, file.sha256, n) for n in range(file.chunks)}
            others = edge.Filter(must=_where("path", file.path).must, must_not=[edge.HasIdCondition(kept)])
            operations.append(edge.UpdateOperation.delete_points_by_filter(others))
        self._update(*operations)

    def touch(self, mtimes: Mapping[str, int]) -> None:
        """Remember new modification times, in ns by path, of files whose content is the same."""
        set_payload = edge.UpdateOperation.set_payload_by_filter
        self._update(*(set_payload(_where("path", path), {"mtime_ns": ns}) for path, ns in mtimes.items()))

    def files(self) -> dict[str, FileState]:
        """What the index holds, by path."""
        states: dict[str, FileState] = {}
        for payload in self._scroll(["path", "sha256", "size", "mtime_ns", "chunks"]):
            state = states.setdefault(
                payload["path"],
                FileState(payload["sha256"], payload["size"], payload["mtime_ns"], payload["chunks"]),
            )
            if payload["sha256"] == state.sha256:
                state.points += 1
            else:
                state.versions = 2
        return states

    def count(self, modality: Modality | None = None) -> int:
        """Number of chunks."""
        where = _where("modality", modality) if modality else None
        with _edge_errors():
            return self._shard.count(edge.CountRequest(exact=True, filter=where))

    def stats(self) -> Stats:
        """Files, chunks by modality, bytes on disk."""
        chunks: dict[str, int] = {}
        paths = set()
        for payload in self._scroll(["path", "modality"]):
            paths.add(payload["path"])
            chunks[payload["modality"]] = chunks.get(payload["modality"], 0) + 1
        # st_blocks, since Edge sets aside sparse files of 32 MB that take no room until they are written.
        sizes = (path.stat().st_blocks * 512 for path in self.folder.rglob("*") if path.is_file())
        return Stats(len(paths), dict(sorted(chunks.items())), sum(sizes))

    def nearest(
        self, vector: Vectors, limit: int, modality: Modality | None = None
    ) -> tuple[list[Entry], Vectors]:
        """The `limit` chunks with the largest inner product with `vector` [dim], and their base vectors [n, dim]."""
        request = edge.QueryRequest(
            limit=limit,
            query=edge.Query.Nearest(vector.astype(np.float32).tolist()),
            filter=_where("modality", modality) if modality else None,
            with_payload=True,
            with_vector=True,
            params=edge.SearchParams(exact=True),
        )
        with _edge_errors():
            found = self._shard.query(request)
        vectors = np.asarray([point.vector for point in found], np.float32).reshape(-1, self.meta.dim)
        return [Entry(**(point.payload or {})) for point in found], vectors

    def _update(self, *operations: edge.UpdateOperation) -> None:
        """Apply, then one flush: it costs about 20 ms, an operation well below one."""
        with _edge_errors():
            for operation in operations:
                self._shard.update(operation)
            if operations:
                self._shard.flush()

    def _scroll(self, keys: list[str]) -> Iterator[dict[str, Any]]:
        """The named payload fields of every point; Any, as a payload is whatever JSON was put in."""
        offset = None
        while True:
            request = edge.ScrollRequest(offset=offset, limit=SCROLL, with_payload=keys, with_vector=False)
            with _edge_errors():
                records, offset = self._shard.scroll(request)
            yield from (record.payload or {} for record in records)
            if offset is None:
                return


def point_id(path: str, sha256: str, chunk: int) -> uuid.UUID:
    """Id of a chunk: the same content at the same path has it again; new content stands beside the old."""
    return uuid.uuid5(_NAMESPACE, f"{path}\0{sha256}\0{chunk}")


def metadata_version() -> str:
    """Version of the installed unbraid, or "unknown" when it runs from a checkout that is not installed."""
    try:
        return metadata.version("unbraid")
    except metadata.PackageNotFoundError:
        return "unknown"


def _write_meta(folder: Path, meta: Meta) -> None:
    """Write `unbraid.json` whole or not at all, also through a power cut."""
    temporary = folder / (META_FILE + ".new")
    with open(temporary, "w", encoding="utf-8") as stream:
        json.dump(asdict(meta), stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, folder / META_FILE)
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":  # Windows cannot open a folder
        handle = os.open(folder, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)


def _open_shard(path: Path, dim: int) -> edge.EdgeShard:
    """The shard at `path`; made in a folder beside it and renamed, so that a half-made one is never opened."""
    with _edge_errors():
        if not path.exists():
            unfinished = path.with_name(path.name + ".new")
            shutil.rmtree(unfinished, ignore_errors=True)
            config = edge.EdgeConfig(vectors=edge.EdgeVectorParams(size=dim, distance=edge.Distance.Dot))
            shard = edge.EdgeShard.create(str(unfinished), config)
            for key in ("path", "modality"):
                shard.update(edge.UpdateOperation.create_field_index(key, edge.PayloadSchemaType.Keyword))
            shard.flush()
            shard.close()
            unfinished.rename(path)
            _sync_folder(path.parent)
        return edge.EdgeShard.load(str(path))


def _where(key: str, value: str) -> edge.Filter:
    return edge.Filter(must=[edge.FieldCondition(key, match=edge.MatchValue(value))])


@contextmanager
def _edge_errors() -> Iterator[None]:
    """Edge raises plain Exception for everything; told apart by its message and raised as StoreError."""
    try:
        yield
    except Exception as error:
        if "WouldBlock" in str(error):  # the lock on its write-ahead log is taken
            message = "the index is open in another process, or twice in this one: close it there first"
        elif "not initialized" in str(error):
            message = "the index has been closed: open it again"
        else:
            message = f"the index cannot be read or written: {error}"
        raise StoreError(message) from error
