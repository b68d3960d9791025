"""An index in a folder, kept by Qdrant Edge.

    FOLDER/unbraid.json   format version, what it was made with, which Edge store counts (meta.py)
    FOLDER/shard/         the Edge store: one point per chunk, its base vector and an `Entry` with checksum as payload
    FOLDER/sealed.json    hashes and lengths of the Edge store's files, while nobody writes to it (file_hashes.py)
    FOLDER/lengths.json   the lengths once more: the files' empty ends are cut meanwhile (tails.py); none while it is written
    FOLDER/files.table    what the chunks say of each file, as long as the hashes are those that it was made with (file_table.py)
    FOLDER/roots.json     the folders and files that it was given, with their settings (roots.py); other notes likewise
    FOLDER/progress.json  how far a run is, while there is one (under_way.py)
    FOLDER/open.lock      the lock of the process that has it open, which open.json names

A write has happened when the call returns: it is in Edge's write-ahead log, and the log is on the disk. Edge writes
everything else when `flush` is called, which takes 0.2 to 0.6 s and stops every thread of Python for so long. So that is
done once for some thousand chunks. After a kill, loading applies the log again: 0.25 ms a chunk.
"""

import os
import shutil
import sys
import threading
import time
import uuid
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import qdrant_edge as edge

from unbraid.errors import StoreError
from unbraid.index.protocol import Vectors
from unbraid.index.store.bm25 import VERSION
from unbraid.index.store.demand import Demand
from unbraid.index.store.edge import (
    DENSE,
    WORDS,
    Points,
    condition,
    edge_errors,
    index_fields,
    load_edge,
    number_fields,
    prepare_points,
    reload_edge,
    require_room,
    set_words,
    stored_rows,
    upsert_operations,
)
from unbraid.index.store.entry import PAYLOAD, Entry, FileState, file_states, point_id
from unbraid.index.store.file_hashes import FILE as HASHES
from unbraid.index.store.file_hashes import (
    LENGTHS,
    begin_writing,
    file_lengths,
    hash_of_hashes,
    note_whole,
    remove_file_hashes,
    write_file_hashes,
)
from unbraid.index.store.file_table import read_file_table, remove_file_table, write_file_table
from unbraid.index.store.filter import (
    ANYTHING,
    FIELDS,
    Condition,
    Filter,
    build_filter,
    field_names,
    matching,
    values_of,
)
from unbraid.index.store.meta import FORMAT, SHARD_FOLDER, Meta, read_meta, write_meta
from unbraid.index.store.storage import OVERSAMPLING
from unbraid.index.store.store import SAMPLE, Candidates, Page, Payload, Store, Version, check_vectors
from unbraid.index.store.tails import cut_tails, restore_tails
from unbraid.io.atomic import sync_folder, write_atomic
from unbraid.io.lock import FolderLock
from unbraid.sizes import disk_bytes

SCROLL = 10_000
WITH_VECTORS = 500  # points read at a time where their vectors are wanted: Python lists of 512 floats
# Points without the smaller copy that are searched as they are: fewer cost less than making the copy anew.
UNSETTLED, UNSETTLED_SHARE = 20_000, 0.1
# Chunks written between two flushes: after a kill they are applied again, in a second.
FLUSH_AFTER = 4_000
# Chunks from which on an index has a table of its files, and files that are read anew beside it.
TABLED, TOUCHED = 2_000, 20_000
GIVE_WAY = 0.0005  # seconds between two calls of a thread, when another one waits
# Where syncing a file syncs what was written to it through a mapping.
SYNCS_MAPPED = sys.platform == "linux"


class FolderStore(Store):
    """An index in a folder, open in one process at a time. Loads the Edge store when it is first needed.

    Several threads may use it: each call of Edge has it for itself, and a write of many chunks is many calls.
    """

    def __init__(self, folder: Path, lock: FolderLock | None) -> None:
        """Use `FolderStore.open` or `create`. `lock` None: another process holds it for this one (verify.py)."""
        super().__init__()
        self.folder, self.place = folder, str(folder)
        self._lock = lock
        self._turn = threading.RLock()  # held while Edge is called, loaded or closed
        self._waiting: set[int] = set()  # threads that wait for their turn
        self._demand = Demand()
        self._edge: edge.EdgeShard | None = None
        self._name = uuid.uuid4().hex  # of this opening
        self._changes = 0  # chunks written and paths deleted since
        # Whether it holds some, or has since it was opened; None: nobody asked.
        self._pictures: bool | None = None
        self._unflushed = self._unflushed_bytes = 0  # chunks, and what they may take when they are flushed
        self._closed = False
        self._written = False  # since it was loaded, so that its files are to be hashed again
        self._restored: list[Path] = []  # files that were made longer when it was loaded (tails.py)
        self._cut = False  # its files may miss their empty ends, and nothing says how long they were
        # Files of which chunks were written or deleted since it was last unloaded; None: more than TOUCHED.
        self._touched: set[str] | None = set()
        self._failed = False  # a write has failed: on a full disk even a flush could end the process
        # The hash of the hashes that it had when it was last unloaded, which a table of files names.
        self._seal = hash_of_hashes(folder)
        self.meta = read_meta(folder)  # under the lock: a repair may just have replaced the Edge store
        for leftover in folder.glob("shard*"):
            if leftover.name != self.meta.shard:  # of a creation or a repair that was cut off
                shutil.rmtree(leftover, ignore_errors=True)

    @classmethod
    def open(cls, folder: str | Path) -> Self | None:
        """The index in `folder`; None where there is nothing, or an empty folder.

        Raises StoreError for something else than an index, and when the index is open elsewhere.
        """
        folder = Path(folder)
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            return None
        if not folder.is_dir():
            raise StoreError(f"no index at {folder}: it is a file; give a folder")
        read_meta(folder)  # before a lock file is made in a folder of something else
        lock = FolderLock(folder)
        try:
            return cls(folder, lock)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def create(cls, folder: str | Path, meta: Meta) -> Self:
        """A new index in `folder`, which must be absent or empty. Raises StoreError when it cannot be made."""
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_meta(folder, replace(meta, format=FORMAT, shard=SHARD_FOLDER, words=VERSION))
        except OSError as error:
            raise StoreError(f"cannot make an index in {folder}: {error}") from error
        made = cls.open(folder)
        assert made is not None
        made.begin()
        return made

    def begin(self) -> None:
        """Make a new index whole, also one that gets no item: `close` hashes its files."""
        self.renew_file_hashes()

    def loaded(self) -> edge.EdgeShard:
        """The Edge store, loaded. Raises StoreError after `close` and for one that cannot be read."""
        with self._turn:
            if self._closed:
                raise StoreError(f"the index {self.place} has been closed: open it again")
            if self._edge is None:
                path = self.folder / self.meta.shard
                with edge_errors():
                    if not path.exists():  # it is made now
                        note_whole(self.folder)
                    self._cut = self.lengths_lost()
                    self._restored = restore_tails(path, file_lengths(self.folder) or {})
                self._edge = load_edge(path, self.meta.storage)
            return self._edge

    @contextmanager
    def _using(self) -> Iterator[edge.EdgeShard]:
        """The Edge store for one call; what it raises becomes StoreError."""
        thread = threading.get_ident()
        self._waiting.add(thread)
        with self._turn, edge_errors():
            self._waiting.discard(thread)
            yield self.loaded()
        if self._waiting:  # a lock that is let go and taken again at once stays with the same thread
            time.sleep(GIVE_WAY)

    @contextmanager
    def unloaded(self) -> Iterator[None]:
        """The Edge store is closed and stays so in this block, for another process; other threads wait."""
        with self._turn:
            self.unload()
            try:
                yield
            finally:  # it may have written, and hashed what it wrote
                self._seal, self._touched = hash_of_hashes(self.folder), set()

    def lengths_lost(self) -> bool:
        """Whether files may miss their empty ends and nothing says how long they were: a write would destroy the index."""
        cut = self.meta.format >= FORMAT or (self.folder / LENGTHS).exists()
        return cut and file_lengths(self.folder) is None

    def unload(self) -> None:
        """Close the Edge store, its files hashed if it was written to, and keep the lock; the next use loads it again."""
        with self._turn:
            self._unload()

    def _unload(self) -> None:
        loaded = self._edge
        if loaded is None:
            return
        try:
            if self._written and not self._failed:
                with edge_errors():
                    loaded.flush()  # an interrupt may have come between a write and its flush
                    items = loaded.count(edge.CountRequest(exact=True))
                states = self._states() if items >= TABLED else None
                loaded.close()
                # Loading applies what the write-ahead log and journals hold once more, and changes files by it; after
                # one load they stay as they are.
                path = self.folder / self.meta.shard
                load_edge(path, self.meta.storage).close()
                cut = self.meta.format >= FORMAT  # an older version, which puts nothing back, refuses those
                self._seal, self._touched = write_file_hashes(self.folder, path, items, lengths=cut), set()
                if states is None:
                    remove_file_table(self.folder)
                else:
                    write_file_table(self.folder, self._seal, states)
        except (OSError, StoreError) as error:  # what was acknowledged is safe
            warnings.warn(f"the files of {self.folder} could not be hashed: {error}", stacklevel=2)
        finally:
            self._edge = None
            loaded.close()
            # After a write that failed there are no lengths, and nothing is cut.
            if self.meta.format >= FORMAT:
                cut_tails(self.folder / self.meta.shard, file_lengths(self.folder) or {})
            self._written, self._unflushed, self._unflushed_bytes = False, 0, 0

    def close(self) -> None:
        """Release the folder for other processes, its files hashed if it was written to; a second call does nothing."""
        with self._turn:
            if self._closed:
                return
            try:
                self.unload()
            finally:
                self._closed = True
                if self._lock is not None:
                    self._lock.release()

    def set_meta(self, meta: Meta) -> None:
        """Replace the description of the model that made the index."""
        with self._turn:
            self.meta = replace(meta, shard=self.meta.shard)  # which only a repair changes
            write_meta(self.folder, self.meta)
            self._changes += 1

    def version(self) -> Version:
        """Which opening of the index this is, and about how many chunks were written and deleted since."""
        return self._name, self._changes

    def read_note(self, name: str) -> bytes | None:
        """What `write_note` stored under this name; None where it never did."""
        return read_note(self.folder, name)

    def write_note(self, name: str, content: bytes) -> None:
        """Keep `content`, UTF-8 text, in a file of the folder, whole or not at all."""
        write_note(self.folder, name, content)

    def upsert(self, entries: Sequence[Entry], vectors: Vectors) -> None:
        """Add or replace `entries` with their base vectors [n, dim]; on disk when this returns."""
        check_vectors(vectors, len(entries), self.meta.dim)
        self.put(prepare_points(entries, vectors, self.meta.storage, self.number_fields()))

    def number_fields(self) -> list[str]:
        """Names of the fields that an index of an earlier version keeps as whole numbers; they never become more."""
        with self._using() as loaded:
            return number_fields(loaded.info().payload_schema)

    def put(self, points: Points) -> None:
        """Add or replace chunks that are ready to be written; on disk when this returns."""
        if not points.ids:
            return
        with self._using() as loaded:
            operations = index_fields(loaded.info().payload_schema, points.fields)
            if any(payload["modality"] == "image" for payload in points.payloads):
                self._pictures = True
        paths = {payload["path"] for payload in points.payloads}
        self._update([*operations, *upsert_operations(points)], points.room, len(points.ids), paths)

    def delete(self, paths: Iterable[str]) -> None:
        """Remove every chunk of `paths`; gone from the disk when this returns."""
        paths = list(paths)
        chosen = [edge.Filter(must=[condition("path", "value", path)]) for path in paths]
        deletions = map(edge.UpdateOperation.delete_points_by_filter, chosen)
        self._update(deletions, changes=len(chosen), paths=paths)

    def delete_older(self, files: Iterable[Entry]) -> None:
        """Remove every chunk of each entry's path that is not of the entry's content."""
        operations = []
        files = list(files)
        for file in files:
            kept: set[edge.PointId] = {point_id(file.path, file.sha256, n) for n in range(file.chunks)}
            here = condition("path", "value", file.path)
            others = edge.Filter(must=[here], must_not=[edge.HasIdCondition(kept)])
            operations.append(edge.UpdateOperation.delete_points_by_filter(others))
        self._update(operations, changes=len(operations), paths=[file.path for file in files])

    def files(self, filter: Filter = ANYTHING) -> dict[str, FileState]:
        """What the index holds of files whose chunks pass `filter`, by path."""
        if filter == ANYTHING and (known := self._from_table()) is not None:
            return known
        return self._read_files(self._filter(filter))

    def _states(self) -> dict[str, FileState] | None:
        """`files`, for the table; None where a payload is damaged."""
        try:
            return self.files()
        except (StoreError, KeyError, TypeError):
            return None

    def _from_table(self) -> dict[str, FileState] | None:
        """The table of all files, those that were touched since read anew; None where there is none, or too many were."""
        with self._turn:
            seal, touched = self._seal, None if self._touched is None else list(self._touched)
        if seal is None or touched is None or (states := read_file_table(self.folder, seal)) is None:
            return None
        for path in touched:
            states.pop(path, None)
        if touched:
            states |= self._read_files(edge.Filter(must=[condition("path", "any", touched)]))
        return states

    def _read_files(self, filter: edge.Filter | None) -> dict[str, FileState]:
        pages = self._scroll(SCROLL, filter, with_payload=PAYLOAD, with_vector=False)
        return file_states(record.payload or {} for page in pages for record in page)

    def count(self, filter: Filter = ANYTHING) -> int:
        """Number of chunks that pass `filter`."""
        wanted = self._filter(filter)
        with self._using() as loaded:
            return loaded.count(edge.CountRequest(exact=True, filter=wanted))

    def size(self) -> int:
        """About the number of chunks, at no cost."""
        with self._using() as loaded:
            return loaded.count(edge.CountRequest(exact=False))

    def facet(self, key: str, filter: Filter = ANYTHING) -> dict[str, int]:
        """Chunks that pass `filter` by value of path or one of KEYWORDS; those without a value are not counted."""
        chosen = None if filter == ANYTHING else self._filter(filter)
        with self._using() as loaded:
            if key not in loaded.info().payload_schema:  # of an older store, which has no such values
                return {}
            request = edge.FacetRequest(key=key, limit=1 << 30, exact=True, filter=chosen)
            hits = loaded.facet(request).hits
        return dict(sorted((str(hit.value), hit.count) for hit in hits if hit.count))

    def disk_bytes(self) -> int:
        """Bytes that the index takes on the disk."""
        return disk_bytes(self.folder)

    def nearest(self, queries: Vectors, limit: int, filter: Filter = ANYTHING) -> list[Candidates]:
        """For each query of [n, dim] the `limit` chunks with the largest inner products, unchecked."""
        storage, kind = self.meta.storage, self._filter(filter)
        if storage.copy is None:
            params = edge.SearchParams(exact=True)
        else:  # exact as well where there is no copy
            sampling = OVERSAMPLING[storage.copy]
            rescored = edge.QuantizationSearchParams(rescore=True, oversampling=sampling)
            params = edge.SearchParams(quantization=rescored)
        rows = np.asarray(queries, np.float32)[:, : storage.dim]
        return self._query(
            [edge.Query.Nearest(row.tolist()) for row in rows], limit, [kind] * len(rows), params
        )

    def nearest_words(
        self, queries: Sequence[edge.SparseVector], limit: int, filter: Filter = ANYTHING
    ) -> list[Candidates]:
        """For each query's words the `limit` chunks of the best BM25 scores, none without any of the words."""
        asked = [edge.Query.Nearest(query, using=WORDS) for query in queries]
        return self._query(asked, limit, [self._filter(filter)] * len(asked))

    def words_among(
        self, queries: Sequence[edge.SparseVector], ids: Sequence[Sequence[uuid.UUID]]
    ) -> list[Candidates]:
        """Those of the chunks `ids[i]` that hold words of query i, with their BM25 scores."""
        asked = [edge.Query.Nearest(query, using=WORDS) for query in queries]
        among = [edge.Filter(must=[edge.HasIdCondition(set(some))]) for some in ids]
        return self._query(asked, max(map(len, ids), default=0), among)

    def set_words(self, words: Mapping[uuid.UUID, edge.SparseVector]) -> None:
        """Replace the words of points by id."""
        self._update(set_words(words), sum(8 * len(vector.indices) for vector in words.values()), len(words))

    def vectors(self, ids: Sequence[uuid.UUID]) -> Vectors:
        """Base vectors [n, dim] as stored, unchecked; NaN where an id is gone."""
        records = self.retrieve(ids, payload=False)
        places: dict[edge.PointId, int] = {one: row for row, one in enumerate(ids)}
        rows = np.full((len(ids), self.meta.storage.dim), np.nan, np.float32)
        rows[[places[record.id] for record in records]] = stored_rows(records, self.meta.storage.dim)
        return self.meta.storage.widen(rows, self.meta.dim)

    def pictures(self, ids: Sequence[uuid.UUID]) -> set[uuid.UUID]:
        """Those of `ids` that are pictures by what they show, not by the words in them."""
        image = condition("modality", "value", "image")
        with self._turn:
            if self._pictures is None:
                self._pictures = self.count(Filter(modality="image")) > 0
            if not self._pictures:
                return set()
        asked = edge.Filter(must=[edge.HasIdCondition(set(ids)), image])
        pages = self._scroll(SCROLL, asked, with_payload=False, with_vector=False)
        return {_uuid(record) for page in pages for record in page}

    def payloads(self, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Payload | None]:
        """What is stored beside the vectors of those `ids` that are there."""
        return {_uuid(one): one.payload for one in self.retrieve(ids, vector=False)}

    def page(self, filter: Filter, start: uuid.UUID | None) -> Page:
        """Some hundred chunks as stored, unchecked, from the id `start` on."""
        wanted = self._filter(filter)
        page, following = self._read_page(WITH_VECTORS, wanted, start, with_payload=True, with_vector=[DENSE])
        ids = [_uuid(record) for record in page]
        payloads: list[Payload] = [record.payload or {} for record in page]
        return Page(ids, payloads, stored_rows(page, self.meta.storage.dim), following)

    def read_sample(self) -> Vectors:
        """Base vectors [n, dim] of the SAMPLE chunks of the lowest ids, which are hashes and so random."""
        page, _ = self._read_page(SAMPLE, None, None, with_payload=False, with_vector=[DENSE])
        return self.meta.storage.widen(stored_rows(page, self.meta.storage.dim), self.meta.dim)

    def identities(self) -> list[uuid.UUID]:
        """The id of every point; neither payloads nor vectors are read."""
        pages = self._scroll(1 << 30, None, with_payload=False, with_vector=False)
        return [_uuid(record) for page in pages for record in page]

    def retrieve(
        self, ids: Sequence[uuid.UUID], *, payload: bool = True, vector: bool = True
    ) -> list[edge.Record]:
        """The points of `ids` as stored, or parts of them, unchecked."""
        with self._demand.search(), self._using() as loaded:
            return loaded.retrieve(list(ids), payload, [DENSE] if vector else False)

    def copied(self) -> int:
        """Number of chunks in the smaller copy."""
        with self._using() as loaded:
            having_words = edge.Filter(must=[edge.HasVectorCondition(WORDS)])
            words = loaded.count(edge.CountRequest(exact=True, filter=having_words))
            return loaded.info().indexed_vectors_count - words  # words are always indexed

    def settle(self) -> None:
        """After many writes, make the smaller copy that candidates come from.

        Blocks, even for Ctrl-C: 8 s for 100,000 vectors. An index that has one by itself does without where its disk has
        no room.
        """
        storage = self.meta.storage
        if storage.copy is None or self._edge is None:  # nothing was written
            return
        count = self.size()
        if storage.copy_of(count) is None or count - self.copied() <= max(UNSETTLED, UNSETTLED_SHARE * count):
            return
        if storage.candidates == "auto":
            try:
                require_room(self.folder, self._room_to_optimize())
            except StoreError:
                return
        self._optimize()

    def compact(self) -> None:
        """Free what deleted and replaced chunks take. Blocks, even for Ctrl-C."""
        self._optimize()
        self.unload()  # files that were replaced go when they are closed

    def forget_file_hashes(self) -> None:
        """Remove the hashes, and write none at close: the Edge store that they are of no longer counts."""
        with self._turn:
            self._sync_restored()
            remove_file_hashes(self.folder)
            self._seal, self._failed = None, True

    def renew_file_hashes(self) -> None:
        """Have `close` write the hashes, for a caller who has checked every item of an index that has none."""
        with self._turn:
            self.loaded()
            self._forget_hashes()

    def _optimize(self) -> None:
        self._begin_writing(self._room_to_optimize())
        storage = self.meta.storage
        with self._using() as loaded:
            self._flush(loaded)  # a kill while it optimizes what is not flushed loses items
            if storage.candidates == "auto" and (copy := storage.copy_of(self.size())):
                self._edge = None
                loaded.close()
                loaded = self._edge = reload_edge(self.folder / self.meta.shard, storage, copy)
            loaded.optimize()
            self._flush(loaded)

    def _room_to_optimize(self) -> int:
        return self.disk_bytes() // 3

    def _query(
        self,
        queries: Sequence[edge.Query],
        limit: int,
        filters: Sequence[edge.Filter | None],
        params: edge.SearchParams | None = None,
    ) -> list[Candidates]:
        requests = [
            edge.QueryRequest(
                limit=limit,
                query=query,
                filter=one,
                with_payload=False,
                with_vector=False,
                params=params,
            )
            for query, one in zip(queries, filters, strict=True)
        ]
        with self._demand.search(), self._using() as loaded:
            return [Candidates(found) for found in loaded.query_batch(edge.QueryBatchRequest(requests))]

    def give_way(self) -> None:
        """Wait as long as a search is under way, but let this thread get on all the same."""
        self._demand.give_way()

    def _filter(self, filter: Filter) -> Any:
        paths = matching(list(self.facet("path")), filter.patterns) if filter.patterns else None
        fields = self._values(filter.conditions) if filter.conditions else {}
        return build_filter(filter, paths, fields, condition, edge.Filter)

    def _values(self, conditions: Sequence[Condition]) -> dict[str, list[str]]:
        with self._using() as loaded:
            known = field_names(loaded.info().payload_schema)
        return values_of(conditions, known, lambda name: self.facet(FIELDS + name))

    def _scroll(
        self,
        limit: int,
        filter: edge.Filter | None,
        *,
        with_payload: bool | list[str],
        with_vector: bool | list[str],
    ) -> Iterator[list[edge.Record]]:
        """Every point that passes `filter`, `limit` at a time."""
        start: Any = None
        while True:
            records, start = self._read_page(
                limit, filter, start, with_payload=with_payload, with_vector=with_vector
            )
            if records:
                yield records
            if start is None:
                return

    def _read_page(
        self,
        limit: int,
        filter: edge.Filter | None,
        start: Any,
        *,
        with_payload: bool | list[str],
        with_vector: bool | list[str],
    ) -> tuple[list[edge.Record], Any]:
        """Up to `limit` points that pass `filter`, from the id `start` on, and the id that follows."""
        request = edge.ScrollRequest(
            offset=start, limit=limit, filter=filter, with_payload=with_payload, with_vector=with_vector
        )
        with self._using() as loaded:
            return loaded.scroll(request)

    def _update(
        self,
        operations: Iterable[edge.UpdateOperation],
        size: int = 0,
        changes: int = 0,
        paths: Collection[str] = (),
    ) -> None:
        """Apply operations that write `size` bytes and change so many chunks, of `paths`, one by one; then on disk."""
        operations = list(operations)
        if not operations:
            return
        self._begin_writing(size)
        touched: set[str] | None = None
        try:
            for operation in operations:
                with self._using() as loaded:
                    self._demand.begin()
                    self._forget_hashes()  # another thread may have closed and hashed it in between
                    if touched is not self._touched:  # which begins anew with each close
                        self._touch(paths)
                        touched = self._touched
                    loaded.update(operation)
                    self._changes += 1  # a search in between notices, too
                self.give_way()
            self._changes += max(0, changes - len(operations))
            self._unflushed += max(changes, len(operations))
            self._unflushed_bytes += size
            self._sync()
        except StoreError:
            self._failed = True
            raise

    def _sync(self) -> None:
        """Put the log on the disk, in which every write is; or everything, when that is due."""
        if SYNCS_MAPPED and self._unflushed < FLUSH_AFTER:
            with edge_errors():
                log = self.folder / self.meta.shard / "wal"
                for path in log.iterdir():
                    if (
                        path.is_file()
                    ):  # Edge makes a folder for a moment, in which it writes the next file of the log
                        _sync_file(path)
                sync_folder(log)
            return
        with self._using() as loaded:
            self._flush(loaded)

    def _flush(self, loaded: edge.EdgeShard) -> None:
        loaded.flush()
        self._unflushed = self._unflushed_bytes = 0

    def _begin_writing(self, size: int) -> None:
        """Before every write: room for `size` bytes of vectors and payload, and no hashes that would be wrong after it."""
        with self._turn:
            loaded = self.loaded()
            try:
                require_room(self.folder, size + self._unflushed_bytes)
            except StoreError:
                if not self._unflushed:
                    raise
                with edge_errors():  # for which there was room when it was written
                    self._flush(loaded)
                require_room(self.folder, size)
            self._forget_hashes()

    def _forget_hashes(self) -> None:
        if self._cut:
            raise StoreError(
                f"cannot write {self.place}: {LENGTHS} is damaged or lost, and so is {HASHES}, so that nothing says how long "
                f"its files have to be. Nothing was written: unbraid index verify {self.place} --repair"
            )
        if not self._written:
            self._sync_restored()
            with edge_errors():
                begin_writing(self.folder)
            self._written = True

    def _sync_restored(self) -> None:
        """Before lengths are removed: after a power cut, nothing would say how long these files have to be."""
        with edge_errors():
            for path in self._restored:
                _sync_file(path)

    def _touch(self, paths: Collection[str]) -> None:
        if self._touched is not None:
            self._touched.update(paths)
            if len(self._touched) > TOUCHED:
                self._touched = None


def read_note(folder: Path, name: str) -> bytes | None:
    """What `write_note` stored in an index's folder under this name; None where it never did."""
    try:
        return (folder / f"{name}.json").read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{folder / name}.json cannot be read: {error}") from error


def write_note(folder: Path, name: str, content: bytes) -> None:
    """Keep `content`, UTF-8 text, in a file of an index's folder, whole or not at all."""
    try:
        write_atomic(folder / f"{name}.json", content)
    except OSError as error:
        raise StoreError(f"{folder / name}.json cannot be written: {error}") from error


def _uuid(record: edge.Record) -> uuid.UUID:
    return record.id if isinstance(record.id, uuid.UUID) else uuid.UUID(str(record.id))


def _sync_file(path: Path) -> None:
    """Write a file to the disk; one that is gone meanwhile needs none."""
    try:
        handle = os.open(path, os.O_RDWR)  # Windows syncs no file that is open for reading only
    except FileNotFoundError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
