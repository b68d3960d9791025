"""An index in a folder, open in any number of processes.

Qdrant Edge lets one process open a folder. So the process that gets the folder's lock opens it and answers for all others
(answer.py), which call it over a connection (wire.py). When it ends, closed or killed, the first of the others to notice
takes its place; a call that was under way is made again, since every write may be repeated.

A folder that this user cannot write is searched in a copy of its own.
"""

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self
from uuid import UUID

import qdrant_edge as edge

from unbraid.errors import StoreError
from unbraid.index.protocol import Vectors
from unbraid.index.store.answer import Answers
from unbraid.index.store.bm25 import VERSION
from unbraid.index.store.edge import join_points, prepare_points
from unbraid.index.store.entry import Entry, FileState
from unbraid.index.store.filter import ANYTHING, Filter
from unbraid.index.store.folder_store import FolderStore, read_note, write_note
from unbraid.index.store.meta import FORMAT, META_FILE, SHARD_FOLDER, Meta, read_meta, write_meta
from unbraid.index.store.private_copy import private_copy
from unbraid.index.store.store import Candidates, Page, Payload, Store, Version, check_vectors
from unbraid.index.store.wire import (
    PATIENCE,
    UNBOUNDED,
    Connection,
    Facts,
    read_address,
    read_answer,
    write_request,
)
from unbraid.io.lock import (
    OPEN,
    PAUSE,
    WRITE,
    FolderHeld,
    FolderLock,
    FolderUnwritable,
    holder_of,
    read_holder,
)
from unbraid.sizes import disk_bytes

# Seconds until a holder that cannot be reached is an error; one that closes may be hashing its files and reading what a million
# chunks say of theirs, which takes 25 s.
TAKEOVER = 60.0
PREPARED = 16  # chunks at a time, before which a search has its turn: 5 ms
# Files that another process is told to delete at a time: under six searches without a pause each waits a quarter second.
DELETED = 32
WRITERS = 10.0  # seconds that a writer waits for another one


class IndexGone(StoreError):
    """The folder of an index was moved or deleted while it was open."""


class SharedStore(Store):
    """An index in a folder, open in any number of processes. Several threads may use it."""

    def __init__(self, folder: Path) -> None:
        """Use `SharedStore.open` or `create`."""
        super().__init__()
        self.folder, self.place = folder, str(folder)
        self._closed = False
        self._held: FolderStore | None = None  # where this process is the one that holds the index
        self._answers: Answers | None = None
        self._copy: ExitStack | None = None  # what removes the copy that this process made for itself
        self._idle: list[Connection] = []  # to the process that holds it; each is of one call at a time
        self._choice = threading.Lock()  # held while it is found out who holds the index
        self._facts: Facts | None = None  # that came with the last answer
        self._meta: tuple[tuple[int, int], Meta] | None = None
        self._numbers: list[str] | None = None
        self._become()

    @classmethod
    def open(cls, folder: str | Path) -> Self | None:
        """The index in `folder`; None where there is nothing, or an empty folder.

        Raises StoreError for something else than an index, and when the process that holds it cannot be reached.
        """
        folder = Path(folder)
        if not folder.exists() or (folder.is_dir() and all(map(_is_of_lock, folder.iterdir()))):
            return None
        if not folder.is_dir():
            raise StoreError(f"no index at {folder}: it is a file; give a folder")
        read_meta(folder)  # before a lock file is made in a folder of something else
        return cls(folder)

    @classmethod
    def create(cls, folder: str | Path, meta: Meta) -> Self:
        """A new index in `folder`, or the one that another process has made there meanwhile.

        Raises StoreError when it cannot be made.
        """
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _locked(folder, WRITE):
                if not (folder / META_FILE).exists():
                    write_meta(folder, replace(meta, format=FORMAT, shard=SHARD_FOLDER, words=VERSION))
        except OSError as error:
            raise StoreError(f"cannot make an index in {folder}: {error}") from error
        made = cls(folder)
        if made._held is not None:
            made._held.begin()
        return made

    # -- who holds it --------------------------------------------------------------------------------------

    def _become(self) -> None:
        """Hold the index, or connect to the process that does; whichever is possible first."""
        deadline = time.monotonic() + TAKEOVER
        with self._choice:
            while self._held is None and not self._idle:
                self._check_open()
                try:
                    self._hold(FolderLock(self.folder))
                except FolderHeld as held:
                    if self._connect():
                        return
                    if time.monotonic() > deadline or _is_elsewhere(self.folder):
                        raise StoreError(
                            f"{self.place} is open in {holder_of(self.folder)}, which does not answer: close it there first"
                        ) from held
                    time.sleep(PAUSE)
                except FolderUnwritable:
                    if not self._connect():
                        self._hold_copy()

    def _connect(self) -> bool:
        address = read_address(self.folder)
        if address is None:
            return False
        try:
            self._idle.append(Connection.connect(address))
        except OSError:
            return False
        return True

    def _hold(self, lock: FolderLock) -> None:
        try:
            self._held = FolderStore(self.folder, lock)
        except BaseException:
            lock.release()
            raise
        try:
            self._answers = Answers(self._held, self.folder)
        except OSError:  # this machine has no loopback for us: the index is for this process alone
            self._answers = None

    def _hold_copy(self) -> None:
        """Open a copy in a temporary folder: Edge writes when it only loads."""
        with ExitStack() as stack:
            copy = stack.enter_context(private_copy(self.folder))
            self._held = FolderStore(copy, None)
            self._copy = stack.pop_all()

    def alone(self, what: str) -> FolderStore:
        """The store below, for what no other process can do for this one. Raises StoreError that names who holds it."""
        self._check_open()
        if self._held is None:
            raise StoreError(
                f"cannot {what} {self.place}: it is open in {holder_of(self.folder)}; close it there first"
            )
        if self._copy is not None:
            raise StoreError(f"cannot {what} {self.place}: the folder cannot be written")
        return self._held

    def writing(self) -> AbstractContextManager[object]:
        """A block in which no other process writes as a whole what this one does; searches go on.

        Raises StoreError that names the process which is writing for longer than a moment.
        """
        return _locked(self.folder, WRITE)

    def give_way(self) -> None:
        """Wait as long as a search is under way in the process that holds the index, if that is this one."""
        if (held := self._held) is not None:
            held.give_way()

    def close(self) -> None:
        """Let go of it; a second call does nothing. Another process that has it open takes over."""
        if self._closed:
            return
        self._closed = True
        with self._choice:  # a thread that is about to hold the index has it first, or not at all
            for connection in self._idle:
                connection.close()
            try:
                if self._answers is not None:
                    self._answers.close()
                if self._held is not None:
                    self._held.close()
            finally:
                if self._copy is not None:
                    self._copy.close()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(f"the index {self.place} has been closed: open it again")

    def _ask(self, name: str, *arguments: Any) -> Any:
        """What a method of FolderStore gives, called here or in the process that holds the index."""
        request = b""
        while True:
            self._check_open()
            if (held := self._held) is not None:
                return getattr(held, name)(*arguments)
            request = request or write_request(name, arguments)
            try:
                connection = self._idle.pop()
            except IndexError:
                self._become()
                continue
            try:
                connection.send(request)
                answer = connection.receive(None if name in UNBOUNDED else PATIENCE)
            except TimeoutError:
                connection.close()
                raise StoreError(
                    f"{self.place} is open in {holder_of(self.folder)}, which has not answered for {PATIENCE:.0f} s"
                ) from None
            except OSError:  # it has ended: nothing else that is connected to it is of use
                connection.close()
                continue
            except BaseException:  # Ctrl-C: the answer would come to the next call
                connection.close()
                raise
            self._idle.append(connection)
            self._facts, result = read_answer(name, answer)
            return result

    # -- the index -----------------------------------------------------------------------------------------

    @property
    def meta(self) -> Meta:  # type: ignore[override]  # read again when a process has changed it
        """What `unbraid.json` says now."""
        try:
            about = (self.folder / META_FILE).stat()
        except FileNotFoundError:
            raise IndexGone(f"{self.place} is gone: it was moved or deleted while it was open here") from None
        except OSError as error:
            raise StoreError(f"{self.place} cannot be read: {error}") from error
        mark = about.st_mtime_ns, about.st_ino
        if self._meta is None or self._meta[0] != mark:
            self._meta = mark, read_meta(self.folder)
        return self._meta[1]

    def set_meta(self, meta: Meta) -> None:
        """Replace the description of the model that made the index."""
        self._write("set_meta", meta)

    def read_note(self, name: str) -> bytes | None:
        """What `write_note` stored under this name; None where it never did."""
        return read_note(self.folder, name)

    def write_note(self, name: str, content: bytes) -> None:
        """Keep `content`, UTF-8 text, in a file of the folder, whole or not at all."""
        self._check_writable()
        write_note(self.folder, name, content)

    def version(self) -> Version:
        """Which opening of the index this is, and about how many chunks were written and deleted since."""
        name, changes = self._ask("version")
        return name, changes

    def upsert(self, entries: Sequence[Entry], vectors: Vectors) -> None:
        """Add or replace `entries` with their base vectors [n, dim]; on disk when this returns."""
        meta = self.meta
        check_vectors(vectors, len(entries), meta.dim)
        if not entries:
            return
        if self._numbers is None:
            self._numbers = self._ask("number_fields")
        # Words and checksums are made here: the process that holds the index has others to answer.
        parts = []
        for start in range(0, len(entries), PREPARED):
            self.give_way()
            some = slice(start, start + PREPARED)
            parts.append(prepare_points(entries[some], vectors[some], meta.storage, self._numbers))
        self._write("put", join_points(parts))

    def delete(self, paths: Iterable[str]) -> None:
        """Remove every chunk of `paths`; gone from the disk when this returns."""
        self._write_parts("delete", list(paths))

    def delete_older(self, files: Iterable[Entry]) -> None:
        """Remove every chunk of each entry's path that is not of the entry's content."""
        self._write_parts("delete_older", list(files))

    def settle(self) -> None:
        """After many writes, make the smaller copy that candidates come from."""
        self._write("settle")

    def copied(self) -> int:
        """Number of chunks in the smaller copy that candidates come from."""
        return int(self._ask("copied"))

    def set_words(self, words: Mapping[UUID, edge.SparseVector]) -> None:
        """Replace the words of points by id."""
        self._write("set_words", dict(words))

    def disk_bytes(self) -> int:
        """Bytes that the index takes on the disk."""
        return disk_bytes(self.folder)

    def files(self, filter: Filter = ANYTHING) -> dict[str, FileState]:
        """What the index holds of files whose chunks pass `filter`, by path."""
        states: dict[str, FileState] = self._ask("files", filter)
        return states

    def count(self, filter: Filter = ANYTHING) -> int:
        """Number of chunks that pass `filter`."""
        return int(self._ask("count", filter))

    def size(self) -> int:
        """About the number of chunks, at no cost: as of the last answer where another process holds the index."""
        if self._held is None and self._facts is not None:
            return self._facts.size
        return int(self._ask("size"))

    def recent_version(self) -> Version:
        """`version`, that of the last answer where another process holds the index."""
        return self._facts.version if self._held is None and self._facts is not None else self.version()

    def facet(self, key: str, filter: Filter = ANYTHING) -> dict[str, int]:
        """Chunks that pass `filter` by value of path or one of KEYWORDS; those without a value are not counted."""
        counts: dict[str, int] = self._ask("facet", key, filter)
        return counts

    def pictures(self, ids: Sequence[UUID]) -> set[UUID]:
        """Those of `ids` that are pictures by what they show, not by the words in them."""
        found: set[UUID] = self._ask("pictures", list(ids))
        return found

    def nearest(self, queries: Vectors, limit: int, filter: Filter = ANYTHING) -> list[Candidates]:
        """For each query of [n, dim] the `limit` chunks with the largest inner products, unchecked."""
        found: list[Candidates] = self._ask("nearest", queries, limit, filter)
        return found

    def nearest_words(
        self, queries: Sequence[edge.SparseVector], limit: int, filter: Filter = ANYTHING
    ) -> list[Candidates]:
        """For each query's words the `limit` chunks of the best BM25 scores, none without any of the words."""
        found: list[Candidates] = self._ask("nearest_words", list(queries), limit, filter)
        return found

    def words_among(
        self, queries: Sequence[edge.SparseVector], ids: Sequence[Sequence[UUID]]
    ) -> list[Candidates]:
        """Those of the chunks `ids[i]` that hold words of query i, with their BM25 scores."""
        found: list[Candidates] = self._ask("words_among", list(queries), [list(some) for some in ids])
        return found

    def vectors(self, ids: Sequence[UUID]) -> Vectors:
        """Base vectors [n, dim] as stored, unchecked; NaN where an id is gone."""
        rows: Vectors = self._ask("vectors", list(ids))
        return rows

    def payloads(self, ids: Sequence[UUID]) -> dict[UUID, Payload | None]:
        """What is stored beside the vectors of those `ids` that are there."""
        found: dict[UUID, Payload | None] = self._ask("payloads", list(ids))
        return found

    def page(self, filter: Filter, start: UUID | None) -> Page:
        """Some hundred chunks as stored, unchecked, from the id `start` on."""
        found: Page = self._ask("page", filter, start)
        return found

    def read_sample(self) -> Vectors:
        """Base vectors [n, dim] of the SAMPLE chunks of the lowest ids, which are hashes and so random."""
        rows: Vectors = self._ask("read_sample")
        return rows

    def _write(self, name: str, *arguments: Any) -> None:
        self._check_writable()
        self._ask(name, *arguments)

    def _write_parts(self, name: str, items: list[Any]) -> None:
        """Write `items`, another process some of them at a time: each call is answered well before PATIENCE ends."""
        at_once = DELETED if self._held is None else max(1, len(items))
        for start in range(0, len(items), at_once):
            self._write(name, items[start : start + at_once])

    def _check_writable(self) -> None:
        if self._copy is not None:
            raise StoreError(f"cannot write {self.place}: the folder cannot be written by this user")


def _is_of_lock(path: Path) -> bool:
    """Whether a file is one of a lock's, which are there before an index is."""
    return path.stem in (OPEN, WRITE)


def _is_elsewhere(folder: Path) -> bool:
    """Whether another machine or container holds the index, where nothing here can reach it."""
    holder = read_holder(folder)
    return holder is not None and holder.is_elsewhere


@contextmanager
def _locked(folder: Path, name: str) -> Iterator[None]:
    lock = FolderLock(folder, name, patience=WRITERS)
    try:
        yield
    finally:
        lock.release()
