"""Base vectors and what they came from, kept in a folder by Qdrant Edge.

    FOLDER/unbraid.json   format version, what it was made with, which shard counts (meta.py)
    FOLDER/shard/         the Edge shard: one point per chunk, its base vector and an `Entry` with checksum as payload
    FOLDER/sealed.json    hashes of the shard's files, while nobody writes to it (seal.py)
    FOLDER/open.lock      who has it open (holder.py)

A write has happened when the call returns: Edge keeps a write-ahead log, and every write here ends in a flush.
"""

import shutil
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import qdrant_edge as edge

from unbraid.errors import StoreError
from unbraid.index.checksum import damage, to_entry, to_payload
from unbraid.index.entry import Entry, point_id
from unbraid.index.holder import hold, release
from unbraid.index.meta import FORMAT, SHARD_FOLDER, Meta, Provenance, metadata_version, read_meta, write_meta
from unbraid.index.model import Vectors
from unbraid.index.seal import seal, unseal
from unbraid.index.shard import edge_errors, load_shard, require_room, where
from unbraid.items import Modality

SCROLL = 10_000
WITH_VECTORS = 500  # points read at a time where their vectors are wanted: Python lists of 512 floats


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
    incomplete: int  # of the files: a run was cut off in them, the next one takes them again
    chunks: dict[str, int]
    bytes: int


class Store:
    """An open index; close it, or use it in a `with` block. One process at a time."""

    def __init__(self, folder: Path, meta: Meta, shard: edge.EdgeShard, lock: int) -> None:
        """Use `Store.open`."""
        self.folder = folder
        self.meta = meta
        self._shard = shard
        self._lock: int | None = lock
        self._written = False  # since it was opened, so that it has to be sealed again
        self._sound = True  # no write has failed: on a full disk even a flush could end the process

    @classmethod
    def open(
        cls,
        folder: str | Path,
        *,
        base_id: str,
        dim: int,
        create: bool = False,
        provenance: Provenance | None = None,
    ) -> Self:
        """The index in `folder`; `create` makes one, of this `provenance`, where there is nothing or an empty folder.

        Raises StoreError when there is no index, when it was made with another base id or dim or format, or when
        it is open elsewhere.
        """
        folder = Path(folder)
        try:
            if create and (not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))):
                folder.mkdir(parents=True, exist_ok=True)
                made_with = provenance or Provenance()
                write_meta(folder, Meta(FORMAT, base_id, dim, metadata_version(), SHARD_FOLDER, made_with))
        except OSError as error:
            raise StoreError(f"cannot make an index in {folder}: {error}") from error
        if not folder.is_dir():
            raise StoreError(f"no index at {folder}; make one with: unbraid index PATH --into {folder}")
        meta = read_meta(folder)
        check_base(folder, meta, base_id, dim, provenance)
        return cls._locked(folder)

    @classmethod
    def reopen(cls, folder: str | Path) -> Self:
        """The index in `folder` as it is, for work that needs no model. Raises StoreError as `open` does."""
        if not Path(folder).is_dir():
            raise StoreError(f"no index at {folder}; make one with: unbraid index PATH --into {folder}")
        read_meta(folder)
        return cls._locked(Path(folder))

    @classmethod
    def _locked(cls, folder: Path) -> Self:
        lock = hold(folder)
        try:
            meta = read_meta(folder)  # again: a repair in another process may just have replaced the shard
            for leftover in folder.glob("shard*"):
                if leftover.name != meta.shard:  # of a creation or a repair that was cut off
                    shutil.rmtree(leftover, ignore_errors=True)
            return cls(folder, meta, load_shard(folder / meta.shard, meta.dim), lock)
        except BaseException:
            release(lock)
            raise

    def close(self) -> None:
        """Release the folder for other processes, sealed if it was written to; a second call does nothing."""
        if self._lock is None:
            return
        lock, self._lock = self._lock, None
        try:
            if self._written and self._sound:
                with edge_errors():
                    self._shard.flush()  # an interrupt may have come between a write and its flush
                items = self.count()
                self._shard.close()
                # Loading applies what the write-ahead log and journals hold once more, and changes files by it; after
                # one load they stay as they are.
                path = self.folder / self.meta.shard
                load_shard(path, self.meta.dim).close()
                seal(self.folder, path, items)
        except (OSError, StoreError) as error:  # what was acknowledged is safe; only the seal is missing
            warnings.warn(f"{self.folder} could not be sealed: {error}", stacklevel=2)
        finally:
            self._shard.close()
            release(lock)

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
        if entries:
            size = vectors.nbytes + sum(500 + 4 * len(entry.snippet) for entry in entries)
            self._update([upsert_points(entries, vectors)], size)

    def delete(self, paths: Iterable[str]) -> None:
        """Remove every chunk of `paths`; gone from the disk when this returns, as with all that follow."""
        self._update(edge.UpdateOperation.delete_points_by_filter(where("path", path)) for path in paths)

    def delete_older(self, files: Iterable[Entry]) -> None:
        """Remove every chunk of each entry's path that is not of the entry's content."""
        operations = []
        for file in files:
            kept: set[edge.PointId] = {point_id(file.path, file.sha256, n) for n in range(file.chunks)}
            others = edge.Filter(must=where("path", file.path).must, must_not=[edge.HasIdCondition(kept)])
            operations.append(edge.UpdateOperation.delete_points_by_filter(others))
        self._update(operations)

    def touch(self, mtimes: Mapping[str, int]) -> None:
        """Remember new modification times, in ns by path, of files whose content is the same."""
        self._update(
            upsert_points([replace(entry, mtime_ns=ns) for entry in entries], vectors)
            for path, ns in mtimes.items()
            for entries, vectors in [self.file(path)]
            if entries
        )

    def take_over(self, copies: Mapping[str, tuple[str, int]]) -> set[str]:
        """Store files under new paths with the vectors of another path, nothing encoded: {new: (old, mtime in ns)}.

        Returns the new paths that now are in; the others' old path is not whole. The old ones stay.
        """
        done = set()

        def operations() -> Iterator[edge.UpdateOperation]:
            for new, (old, mtime_ns) in copies.items():
                entries, vectors = self.file(old)
                if entries and len(entries) == entries[0].chunks == len({entry.chunk for entry in entries}):
                    yield upsert_points(
                        [replace(entry, path=new, mtime_ns=mtime_ns) for entry in entries], vectors
                    )
                    done.add(new)

        self._update(operations())
        return done

    def file(self, path: str) -> tuple[list[Entry], Vectors]:
        """The chunks of one file that are not damaged, and their base vectors [n, dim]."""
        records = [record for batch in self.records(where("path", path)) for record in batch]
        return self._sound_items(records)

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
        kind = where("modality", modality) if modality else None
        with edge_errors():
            return self._shard.count(edge.CountRequest(exact=True, filter=kind))

    def stats(self) -> Stats:
        """Files, chunks by modality, bytes on disk."""
        chunks: dict[str, int] = {}
        for payload in self._scroll(["modality"]):
            chunks[payload["modality"]] = chunks.get(payload["modality"], 0) + 1
        states = self.files().values()
        incomplete = sum(not state.complete for state in states)
        # st_blocks, since Edge sets aside sparse files of 32 MB that take no room until they are written.
        sizes = (path.stat().st_blocks * 512 for path in self.folder.rglob("*") if path.is_file())
        return Stats(len(states), incomplete, dict(sorted(chunks.items())), sum(sizes))

    def nearest(
        self, vector: Vectors, limit: int, modality: Modality | None = None
    ) -> tuple[list[Entry], Vectors]:
        """The `limit` chunks with the largest inner product with `vector` [dim], and their base vectors [n, dim].

        One whose checksum does not match is left out, with a warning.
        """
        request = edge.QueryRequest(
            limit=limit,
            query=edge.Query.Nearest(vector.astype(np.float32).tolist()),
            filter=where("modality", modality) if modality else None,
            with_payload=True,
            with_vector=True,
            params=edge.SearchParams(exact=True),
        )
        with edge_errors():
            found = self._shard.query(request)
        entries, vectors = self._sound_items(found)
        if len(entries) < len(found):
            warnings.warn(
                f"{len(found) - len(entries)} damaged chunks were left out: unbraid index verify {self.folder}",
                stacklevel=2,
            )
        return entries, vectors

    def compact(self) -> bool:
        """Free what deleted and replaced chunks take; False when nothing was to be done. Blocks, even for Ctrl-C."""
        self._begin_writing(sum(path.stat().st_blocks * 512 for path in self.folder.rglob("*")) // 3)
        with edge_errors():
            done = self._shard.optimize()
            self._shard.flush()
        return done

    def records(self, only: edge.Filter | None = None) -> Iterator[list[edge.Record]]:
        """Every point, or those that `only` lets through, as stored and checked by nobody, some hundred at a time."""
        offset = None
        while True:
            request = edge.ScrollRequest(
                offset=offset, limit=WITH_VECTORS, filter=only, with_payload=True, with_vector=True
            )
            with edge_errors():
                found, offset = self._shard.scroll(request)
            if found:
                yield found
            if offset is None:
                return

    def unseal(self) -> None:
        """Remove the seal, and write none at close: the shard that it was made of no longer counts."""
        unseal(self.folder)
        self._sound = False

    def reseal(self) -> None:
        """Have `close` write a seal; for one who has checked every item of an index that has none."""
        self._written = True

    def paths(self) -> dict[str, int]:
        """Chunks by path as the index over paths has them, which is stored apart from the payloads."""
        with edge_errors():
            hits = self._shard.facet(edge.FacetRequest(key="path", limit=1 << 30, exact=True)).hits
        return {str(hit.value): hit.count for hit in hits}

    def identities(self) -> list[uuid.UUID]:
        """The id of every point, neither payloads nor vectors read."""
        with edge_errors():
            request = edge.ScrollRequest(limit=1 << 30, with_payload=False, with_vector=False)
            return [uuid.UUID(str(record.id)) for record in self._shard.scroll(request)[0]]

    def retrieve(self, identities: Sequence[uuid.UUID]) -> list[edge.Record]:
        """The points of these ids as they are stored, checked by nobody."""
        with edge_errors():
            wanted: list[edge.PointId] = list(identities)
            return self._shard.retrieve(wanted, True, True)

    def _sound_items(self, records: Sequence[edge.Record | edge.ScoredPoint]) -> tuple[list[Entry], Vectors]:
        rows = np.asarray([record.vector for record in records], np.float32).reshape(-1, self.meta.dim)
        sound = [
            number
            for number, record in enumerate(records)
            if damage(None, record.payload, rows[number]) is None
        ]
        return [to_entry(records[number].payload or {}) for number in sound], rows[sound]

    def _update(self, operations: Iterable[edge.UpdateOperation], size: int = 0) -> None:
        """Apply, then one flush: it costs 20 to 200 ms, an operation well below one."""
        begun = False
        for operation in operations:
            if not begun:
                self._begin_writing(size)
                begun = True
            self._write(partial(self._shard.update, operation))
        if begun:
            self._write(self._shard.flush)

    def _write(self, step: Callable[[], None]) -> None:
        try:
            with edge_errors():
                step()
        except StoreError:
            self._sound = False
            raise

    def _begin_writing(self, size: int) -> None:
        """Before every write: room for `size` bytes of vectors and payload, and no seal that would be wrong after it."""
        require_room(self.folder, size)
        if not self._written:
            unseal(self.folder)
            self._written = True

    def _scroll(self, keys: list[str]) -> Iterator[dict[str, Any]]:
        """The named payload fields of every point; Any, as a payload is whatever JSON was put in."""
        offset = None
        while True:
            request = edge.ScrollRequest(offset=offset, limit=SCROLL, with_payload=keys, with_vector=False)
            with edge_errors():
                records, offset = self._shard.scroll(request)
            yield from (record.payload or {} for record in records)
            if offset is None:
                return


def upsert_points(entries: Sequence[Entry], vectors: Vectors) -> edge.UpdateOperation:
    """The write of `entries` with their base vectors [n, dim], each with its checksum."""
    rows = np.asarray(vectors, np.float32)
    points = [
        edge.Point(point_id(entry.path, entry.sha256, entry.chunk), row.tolist(), to_payload(entry, row))
        for entry, row in zip(entries, rows, strict=True)
    ]
    return edge.UpdateOperation.upsert_points(points)


def check_base(folder: Path, meta: Meta, base_id: str, dim: int, wanted: Provenance | None = None) -> None:
    """Raise StoreError when vectors of this base do not belong into an index of `meta`; it says what to do."""
    if (meta.base_id, meta.dim) == (base_id, dim):
        return
    bundle = meta.provenance.bundle
    made = f" by {bundle}" if bundle else ""
    model = f"the model ({wanted.bundle})" if wanted and wanted.bundle else "the model"
    raise StoreError(
        f"{folder} holds vectors of base {meta.base_id} ({meta.dim} dimensions){made}, {model} makes"
        f" {base_id} ({dim} dimensions), and nothing converts one into the other: give the bundle it was made with"
        " as --model, or encode again: unbraid index PATH... --into ANOTHER_FOLDER"
    )
