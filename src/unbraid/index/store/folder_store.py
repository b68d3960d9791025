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
from struct import pack
from typing import Any, Self

import numpy as np
import qdrant_edge as edge

from unbraid.errors import StoreError
from unbraid.index.protocol import Scores, Vectors
from unbraid.index.store.bm25 import document_terms
from unbraid.index.store.checksum import sound_entry, to_payload
from unbraid.index.store.edge import (
    DENSE,
    WORDS,
    edge_errors,
    edge_filter,
    index_fields,
    load_shard,
    require_room,
    search_params,
    where,
)
from unbraid.index.store.entry import Entry, Fields, point_id
from unbraid.index.store.file_hashes import seal, unseal
from unbraid.index.store.file_state import PAYLOAD, FileState, file_states
from unbraid.index.store.filter import ANYTHING, Only, matching, merged
from unbraid.index.store.lock import hold, release
from unbraid.index.store.meta import (
    FORMAT,
    SHARD_FOLDER,
    Meta,
    Provenance,
    metadata_version,
    read_meta,
    vacant,
    write_meta,
)
from unbraid.index.store.protocol import Candidates, tamed
from unbraid.index.store.vector_storage import Storage

SCROLL = 10_000
SAMPLE = 2_000  # chunks that stand for all
WITH_VECTORS = 500  # points read at a time where their vectors are wanted: Python lists of 512 floats
# Points without the smaller copy that are searched as they are: fewer cost less than making the copy anew.
UNSETTLED, UNSETTLED_SHARE = 20_000, 0.1


@dataclass(frozen=True)
class Stats:
    """Size of an index: files and chunks by modality, and bytes it takes on disk."""

    files: int
    incomplete: int  # of the files: a run was cut off in them, the next one takes them again
    chunks: dict[str, int]
    languages: dict[str, int]  # chunks by language, pictures left out
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
        self._sample: Vectors | None = None  # read once between writes
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
        storage: Storage | None = None,
    ) -> Self:
        """The index in `folder`; `create` makes one, of this `provenance`, where there is nothing or an empty folder.

        A new one keeps its vectors as `storage` says, whole and in float32 where it says nothing. Raises StoreError
        when there is no index, when it was made with another base id, dim, format or `storage`, when it holds pictures
        of another image encoder than `provenance` names, or is open elsewhere.
        """
        folder = Path(folder)
        try:
            if create and vacant(folder):
                folder.mkdir(parents=True, exist_ok=True)
                kept, made_with = storage or Storage(dim), provenance or Provenance()
                write_meta(
                    folder, Meta(FORMAT, base_id, dim, kept, metadata_version(), SHARD_FOLDER, made_with)
                )
        except OSError as error:
            raise StoreError(f"cannot make an index in {folder}: {error}") from error
        if not folder.is_dir():
            raise StoreError(f"no index at {folder}; make one with: unbraid index PATH --into {folder}")
        meta = read_meta(folder)
        check_base(folder, meta, base_id, dim, provenance)
        if storage not in (None, meta.storage):
            raise StoreError(
                f"{folder} keeps {meta.storage}, not {storage}: leave these options out, or make a new "
                "index with them in ANOTHER_FOLDER"
            )
        store = cls._locked(folder)
        try:
            store._check_tower(provenance or Provenance(), keep=create)
        except BaseException:
            store.close()
            raise
        return store

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
            return cls(folder, meta, load_shard(folder / meta.shard, meta.storage), lock)
        except BaseException:
            release(lock)
            raise

    def _check_tower(self, wanted: Provenance, *, keep: bool) -> None:
        """`keep` writes down the encoder of the pictures to come where there are none."""
        pictures = partial(self.count, Only(modality="image"))
        changed = checked_tower(self.folder, self.meta, wanted, pictures)
        if keep and changed != self.meta:
            self.meta = changed
            write_meta(self.folder, changed)

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
                load_shard(path, self.meta.storage).close()
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
        check_vectors(vectors, len(entries), self.meta.dim)
        if entries:
            size = room_of(entries, vectors)
            self._index_fields({name: value for entry in entries for name, value in entry.fields.items()})
            self._update([upsert_points(entries, vectors, self.meta.storage)], size)

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

    def restate(self, files: Mapping[str, tuple[int, Fields]]) -> None:
        """Remember a new modification time in ns and new fields, by path, of files whose content is the same."""
        self._index_fields({name: value for _, fields in files.values() for name, value in fields.items()})
        self._update(
            upsert_points(
                [replace(entry, mtime_ns=ns, fields=fields) for entry in entries], vectors, self.meta.storage
            )
            for path, (ns, fields) in files.items()
            for entries, vectors in [self.file(path)]
            if entries
        )

    def take_over(self, copies: Mapping[str, tuple[str, int]], fields: Fields) -> set[str]:
        """Store files under new paths with the vectors of another path, nothing encoded: {new: (old, mtime in ns)}.

        They keep the old ones' fields, and get `fields`. Returns the new paths that now are in; the others' old path
        is not whole. The old ones stay.
        """
        done = set()

        def operations() -> Iterator[edge.UpdateOperation]:
            for new, (old, mtime_ns) in copies.items():
                entries, vectors = self.file(old)
                if entries and len(entries) == entries[0].chunks == len({entry.chunk for entry in entries}):
                    kept = merged(entries[0].fields, fields)
                    yield upsert_points(
                        [replace(entry, path=new, mtime_ns=mtime_ns, fields=kept) for entry in entries],
                        vectors,
                        self.meta.storage,
                    )
                    done.add(new)

        self._index_fields(fields)
        self._update(operations())
        return done

    def file(self, path: str) -> tuple[list[Entry], Vectors]:
        """The chunks of one file that are not damaged, and their base vectors [n, dim]."""
        records = [record for batch in self.records(where("path", path)) for record in batch]
        return self._sound_items(records)

    def files(self) -> dict[str, FileState]:
        """What the index holds, by path."""
        return file_states(self._scroll(PAYLOAD))

    def count(self, only: Only = ANYTHING) -> int:
        """Number of chunks that `only` lets through."""
        with edge_errors():
            return self._shard.count(edge.CountRequest(exact=True, filter=self._filter(only)))

    def size(self) -> int:
        """About the number of chunks, at no cost."""
        with edge_errors():
            return self._shard.count(edge.CountRequest(exact=False))

    def stats(self) -> Stats:
        """Files, chunks by modality and language, bytes on disk."""
        chunks, languages = self._facet("modality"), self._facet("language")
        languages.pop("", None)
        states = self.files().values()
        incomplete = sum(not state.complete for state in states)
        # st_blocks, since Edge sets aside sparse files of 32 MB that take no room until they are written.
        sizes = (path.stat().st_blocks * 512 for path in self.folder.rglob("*") if path.is_file())
        return Stats(len(states), incomplete, chunks, languages, sum(sizes))

    def nearest(self, queries: Vectors, limit: int, only: Only = ANYTHING) -> list[Candidates]:
        """For each query [dim] of [n, dim] the `limit` chunks of the largest inner products.

        Only among those that `only` lets through. Nothing is checked here: `entries` does that for what is shown.
        """
        kind, params = self._filter(only), search_params(self.meta.storage)
        requests = [
            edge.QueryRequest(
                limit=limit,
                query=edge.Query.Nearest(query.tolist()),
                filter=kind,
                with_payload=False,
                with_vector=False,
                params=params,
            )
            for query in np.asarray(queries, np.float32)[:, : self.meta.storage.dim]
        ]
        with edge_errors():
            return [Candidates(found) for found in self._shard.query_batch(edge.QueryBatchRequest(requests))]

    def nearest_words(
        self, queries: Sequence[edge.SparseVector], limit: int, only: Only = ANYTHING
    ) -> list[Candidates]:
        """For each query's words the `limit` chunks of the best BM25 scores.

        A chunk without any of the words is not among them. Unchecked, as `nearest`.
        """
        return [
            Candidates(found) for found in self._words(queries, [self._filter(only)] * len(queries), limit)
        ]

    def word_scores(
        self, queries: Sequence[edge.SparseVector], ids: Sequence[Sequence[uuid.UUID]]
    ) -> list[Scores]:
        """BM25 scores [m] of the chunks `ids[i]` for the words of query i; 0 without any of them."""
        only = [edge.Filter(must=[edge.HasIdCondition(set(some))]) for some in ids]
        found = self._words(queries, only, max(map(len, ids), default=0))
        scores = []
        for some, points in zip(ids, found, strict=True):
            known = {point.id: point.score for point in points}
            scores.append(np.asarray([known.get(one, 0.0) for one in some], np.float32))
        return scores

    def sample(self) -> Vectors:
        """Base vectors [n, dim] of up to SAMPLE chunks, drawn at random: those of the lowest ids, which are hashes."""
        if self._sample is None:  # reading it takes as long as the rest of a search
            request = edge.ScrollRequest(limit=SAMPLE, with_payload=False, with_vector=[DENSE])
            with edge_errors():
                self._sample = tamed(self._base_vectors(self._shard.scroll(request)[0]))
        return self._sample

    def vectors(self, ids: Sequence[uuid.UUID]) -> Vectors:
        """Base vectors [n, dim] as they are stored, checked by nobody; no numbers where an id is gone."""
        records = self.retrieve(ids, payload=False)
        places: dict[edge.PointId, int] = {one: row for row, one in enumerate(ids)}
        rows = np.full((len(ids), self.meta.storage.dim), np.nan, np.float32)
        rows[[places[record.id] for record in records]] = self._rows(records)
        return self.meta.storage.widen(rows, self.meta.dim)

    def entries(self, ids: Sequence[uuid.UUID], vectors: Vectors) -> list[Entry | None]:
        """What is stored under each of `ids`; None, and one warning, where the checksum does not match.

        `vectors` is what `vectors` has of them: reading them twice takes as long as the rest.
        """
        payloads = {record.id: record.payload for record in self.retrieve(ids, vector=False)}
        rows = vectors[:, : self.meta.storage.dim]
        entries = [sound_entry(payloads.get(one), row) for one, row in zip(ids, rows, strict=True)]
        if damaged := sum(entry is None for entry in entries):
            warnings.warn(
                f"{damaged} damaged chunks were left out: unbraid index verify {self.folder}", stacklevel=2
            )
        return entries

    def settle(self) -> bool:
        """After many writes, make the smaller copy that candidates come from; whether there was anything to do.

        Blocks, even for Ctrl-C: 20 s for a million vectors.
        """
        if self.meta.storage.candidates == "exact":
            return False
        with edge_errors():
            about = self._shard.info()
            having_words = edge.Filter(must=[edge.HasVectorCondition(WORDS)])
            words = self._shard.count(edge.CountRequest(exact=True, filter=having_words))
        without = about.points_count - (about.indexed_vectors_count - words)  # words are always indexed
        return without > max(UNSETTLED, UNSETTLED_SHARE * about.points_count) and self.compact()

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
                offset=offset, limit=WITH_VECTORS, filter=only, with_payload=True, with_vector=[DENSE]
            )
            with edge_errors():
                found, offset = self._shard.scroll(request)
            if found:
                yield found
            if offset is None:
                return

    def items(self, only: edge.Filter | None = None) -> Iterator[tuple[list[Entry], Vectors, int]]:
        """As `records`, what is not damaged and its base vectors [n, dim], and how many others there were."""
        for records in self.records(only):
            entries, vectors = self._sound_items(records)
            yield entries, vectors, len(records) - len(entries)

    def unseal(self) -> None:
        """Remove the seal, and write none at close: the shard that it was made of no longer counts."""
        unseal(self.folder)
        self._sound = False

    def reseal(self) -> None:
        """Have `close` write a seal; for one who has checked every item of an index that has none."""
        self._written = True

    def paths(self) -> dict[str, int]:
        """Chunks by path as the index over paths has them, which is stored apart from the payloads."""
        return self._facet("path")

    def identities(self) -> list[uuid.UUID]:
        """The id of every point, neither payloads nor vectors read."""
        with edge_errors():
            request = edge.ScrollRequest(limit=1 << 30, with_payload=False, with_vector=False)
            return [uuid.UUID(str(record.id)) for record in self._shard.scroll(request)[0]]

    def retrieve(
        self, ids: Sequence[uuid.UUID], *, payload: bool = True, vector: bool = True
    ) -> list[edge.Record]:
        """The points of `ids` as they are stored, or parts of them, checked by nobody."""
        with edge_errors():
            return self._shard.retrieve(list(ids), payload, [DENSE] if vector else False)

    def _words(
        self,
        queries: Sequence[edge.SparseVector],
        only: Sequence[edge.Filter | None],
        limit: int,
    ) -> list[list[edge.ScoredPoint]]:
        requests = [
            edge.QueryRequest(
                limit=limit,
                query=edge.Query.Nearest(query, using=WORDS),
                filter=kind,
                with_payload=False,
                with_vector=False,
            )
            for query, kind in zip(queries, only, strict=True)
        ]
        with edge_errors():
            return self._shard.query_batch(edge.QueryBatchRequest(requests))

    def _filter(self, only: Only) -> edge.Filter | None:
        paths = matching(list(self.paths()), only.patterns) if only.patterns else None
        return edge_filter(only, paths)

    def _facet(self, key: str) -> dict[str, int]:
        """Chunks by value of a payload field that has an index."""
        with edge_errors():
            hits = self._shard.facet(edge.FacetRequest(key=key, limit=1 << 30, exact=True)).hits
        return dict(sorted((str(hit.value), hit.count) for hit in hits if hit.count))

    def _base_vectors(self, records: Sequence[edge.Record]) -> Vectors:
        return self.meta.storage.widen(self._rows(records), self.meta.dim)

    def _rows(self, records: Sequence[edge.Record]) -> Vectors:
        """Vectors [n, storage.dim] as they are stored; no numbers where there is none, which is damage."""
        dim = self.meta.storage.dim
        packed = b"".join([_packed(record.vector, dim) for record in records])
        return np.frombuffer(packed, np.float32).reshape(-1, dim)

    def _sound_items(self, records: Sequence[edge.Record]) -> tuple[list[Entry], Vectors]:
        entries = [
            sound_entry(record.payload, row) for record, row in zip(records, self._rows(records), strict=True)
        ]
        sound = [number for number, entry in enumerate(entries) if entry is not None]
        return [entry for entry in entries if entry is not None], self._base_vectors(
            [records[number] for number in sound]
        )

    def _index_fields(self, fields: Fields) -> None:
        with edge_errors():
            known = self._shard.info().payload_schema
        self._update(index_fields(known, fields))

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
        self._sample = None
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


def upsert_points(entries: Sequence[Entry], vectors: Vectors, storage: Storage) -> edge.UpdateOperation:
    """The write of `entries` with their base vectors [n, dim], each with its checksum and its words."""
    rows = storage.narrow(vectors)
    points = [
        edge.Point(
            point_id(entry.path, entry.sha256, entry.chunk), _vectors(entry, row), to_payload(entry, row)
        )
        for entry, row in zip(entries, rows, strict=True)
    ]
    return edge.UpdateOperation.upsert_points(points)


def _vectors(entry: Entry, row: Vectors) -> "dict[str, edge.NamedVector]":
    """The base vector, and the words where there are any; these follow from the payload, so no checksum holds them."""
    words = document_terms(entry.text)
    return {DENSE: row.tolist(), WORDS: words} if words.indices else {DENSE: row.tolist()}


def _packed(vector: object, dim: int) -> bytes:
    """A list of `dim` floats as float32; numpy takes twice as long over them."""
    return pack(f"={dim}f", *(vector if isinstance(vector, list) else [np.nan] * dim))


def check_vectors(vectors: Vectors, count: int, dim: int) -> None:
    """Raise StoreError unless `vectors` are [count, dim] and finite."""
    if vectors.shape != (count, dim) or not np.isfinite(vectors).all():
        raise StoreError(
            f"expected {count} finite vectors of {dim} dimensions, got {vectors.shape}"
            f" with {int((~np.isfinite(vectors)).sum())} values not finite"
        )


def room_of(entries: Sequence[Entry], vectors: Vectors) -> int:
    """Bytes that entries and vectors take in a write, words and payload among them, rather more than less."""
    return vectors.nbytes + sum(500 + 4 * len(entry.text) for entry in entries)


def checked_tower(place: Path | str, meta: Meta, wanted: Provenance, pictures: Callable[[], int]) -> Meta:
    """`meta` with the image encoder of `wanted`, which bundles of one base may differ in.

    Raises StoreError when it is another one than that of the `pictures` which the index holds.
    """
    made = meta.provenance
    new, old = (one.encoders.get("image") for one in (wanted, made))
    if new is None or new == old:
        return meta
    if old is not None and (count := pictures()):
        raise StoreError(
            f"{place} holds {count} pictures by the image encoder {old}, and that of {wanted.bundle} is {new}: their "
            "vectors are not comparable. Give the bundle it was made with as --model, or encode again: unbraid index "
            "PATH... --into ANOTHER_FOLDER"
        )
    return replace(meta, provenance=replace(made, encoders={**made.encoders, "image": new}))


def check_base(
    place: Path | str, meta: Meta, base_id: str, dim: int, wanted: Provenance | None = None
) -> None:
    """Raise StoreError when vectors of this base do not belong into an index of `meta`; it says what to do."""
    if (meta.base_id, meta.dim) == (base_id, dim):
        return
    bundle = meta.provenance.bundle
    made = f" by {bundle}" if bundle else ""
    model = f"the model ({wanted.bundle})" if wanted and wanted.bundle else "the model"
    raise StoreError(
        f"{place} holds vectors of base {meta.base_id} ({meta.dim} dimensions){made}, {model} makes"
        f" {base_id} ({dim} dimensions), which do not compare: give the bundle it was made with as --model, or encode"
        " again: unbraid index PATH... --into ANOTHER_FOLDER, or convert it: unbraid convert INDEX --into ANOTHER_FOLDER"
    )
