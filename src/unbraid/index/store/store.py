"""What an index is, wherever it is kept: in a folder (folder_store.py) or on a Qdrant server (qdrant_store.py)."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self, TypeAlias
from uuid import UUID

import numpy as np
import qdrant_edge as edge

from unbraid.errors import StoreError
from unbraid.index.protocol import Scores, Vectors
from unbraid.index.store.bm25 import VERSION, document_words
from unbraid.index.store.checksum import checked_entry
from unbraid.index.store.entry import Entry, FileState
from unbraid.index.store.filter import ANYTHING, Filter
from unbraid.index.store.meta import Meta

# The largest number that a base vector, whose length is about 1, can hold: a larger one, or NaN, is damage.
LARGEST = 10.0
SAMPLE = 2_000  # chunks that stand for all
STALE = 0.2  # share of the chunks that change until another sample is read

Payload = Mapping[str, Any]  # Any: whatever JSON was stored
# Which opening of the index it is, and about how many chunks were written and deleted since: another after each write.
Version: TypeAlias = tuple[str, int]


class Point(Protocol):
    """A chunk that a store found."""

    @property
    def id(self) -> object:
        """Its id in the store."""
        ...

    @property
    def score(self) -> float:
        """Its inner product or BM25 score."""
        ...


class Candidates:
    """The chunks that a query found, best first. Lazy: ids are made on demand, since that takes as long as the search."""

    def __init__(self, points: Sequence[Point]) -> None:
        """What a store found."""
        self.points = points

    def __len__(self) -> int:
        """Number of chunks."""
        return len(self.points)

    def ids(self, some: slice = slice(None)) -> list[UUID]:
        """Ids of `some` of them."""
        found = [point.id for point in self.points[some]]
        return [one if isinstance(one, UUID) else UUID(str(one)) for one in found]  # a server sends text

    def scores(self) -> Scores:
        """Scores [n]."""
        return np.asarray([point.score for point in self.points], np.float32)


@dataclass(frozen=True)
class Page:
    """Some chunks as stored, unchecked: vectors [n, storage.dim], and where the next page starts, None after the last."""

    ids: list[UUID]
    payloads: list[Payload]
    vectors: Vectors
    following: UUID | None


class Store(ABC):
    """An open index. A write has happened, and lasts, when its call returns; a write may be repeated.

    An item whose checksum does not match is damaged and never handed out.
    """

    meta: Meta
    place: str  # as a message names it

    def __init__(self) -> None:
        """For the implementations."""
        self._sample: tuple[Version, Vectors] | None = None

    @abstractmethod
    def close(self) -> None:
        """Let go of it; a second call does nothing."""

    @abstractmethod
    def set_meta(self, meta: Meta) -> None:
        """Replace the description of the model that made the index."""

    @abstractmethod
    def read_note(self, name: str) -> bytes | None:
        """What `write_note` stored under this name; None where it never did."""

    @abstractmethod
    def write_note(self, name: str, content: bytes) -> None:
        """Keep `content`, UTF-8 text, beside the items of the index, whole or not at all."""

    @abstractmethod
    def upsert(self, entries: Sequence[Entry], vectors: Vectors) -> None:
        """Add or replace `entries` with their base vectors [n, dim]."""

    @abstractmethod
    def delete(self, paths: Iterable[str]) -> None:
        """Remove every chunk of `paths`."""

    @abstractmethod
    def delete_older(self, files: Iterable[Entry]) -> None:
        """Remove every chunk of each entry's path that is not of the entry's content."""

    @abstractmethod
    def settle(self) -> None:
        """Put in order what many writes left behind, where that is due."""

    @abstractmethod
    def copied(self) -> int | None:
        """Number of chunks in the smaller copy that candidates come from; None on a server."""

    @abstractmethod
    def version(self) -> Version:
        """Changes with every write, by whichever process."""

    @abstractmethod
    def disk_bytes(self) -> int | None:
        """Bytes that the index takes on this machine's disk; None on a server."""

    @abstractmethod
    def files(self, filter: Filter = ANYTHING) -> dict[str, FileState]:
        """What the index holds of files whose chunks pass `filter`, by path."""

    @abstractmethod
    def count(self, filter: Filter = ANYTHING) -> int:
        """Number of chunks that pass `filter`."""

    @abstractmethod
    def size(self) -> int:
        """About the number of chunks, at no cost."""

    @abstractmethod
    def facet(self, key: str, filter: Filter = ANYTHING) -> dict[str, int]:
        """Chunks that pass `filter` by value of path or one of KEYWORDS; those without a value are not counted."""

    @abstractmethod
    def nearest(self, queries: Vectors, limit: int, filter: Filter = ANYTHING) -> list[Candidates]:
        """For each query of [n, dim] the `limit` chunks with the largest inner products, unchecked."""

    @abstractmethod
    def nearest_words(
        self, queries: Sequence[edge.SparseVector], limit: int, filter: Filter = ANYTHING
    ) -> list[Candidates]:
        """For each query's words the `limit` chunks of the best BM25 scores, none without any of the words."""

    @abstractmethod
    def words_among(
        self, queries: Sequence[edge.SparseVector], ids: Sequence[Sequence[UUID]]
    ) -> list[Candidates]:
        """Those of the chunks `ids[i]` that hold words of query i, with their BM25 scores."""

    @abstractmethod
    def set_words(self, words: Mapping[UUID, edge.SparseVector]) -> None:
        """Replace the words of points by id."""

    @abstractmethod
    def vectors(self, ids: Sequence[UUID]) -> Vectors:
        """Base vectors [n, dim] as stored, unchecked; NaN where an id is gone."""

    @abstractmethod
    def pictures(self, ids: Sequence[UUID]) -> set[UUID]:
        """Those of `ids` that are pictures by what they show, not by the words in them."""

    @abstractmethod
    def payloads(self, ids: Sequence[UUID]) -> dict[UUID, Payload | None]:
        """What is stored beside the vectors of those `ids` that are there."""

    @abstractmethod
    def page(self, filter: Filter, start: UUID | None) -> Page:
        """Some hundred chunks that pass `filter`, from the id `start` on."""

    @abstractmethod
    def read_sample(self) -> Vectors:
        """Base vectors [n, dim] of the SAMPLE chunks of the lowest ids, which are hashes and so random."""

    def __enter__(self) -> Self:
        """The store itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def writing(self) -> AbstractContextManager[object]:
        """A block in which no other process writes as a whole what this one does."""
        return nullcontext()

    def give_way(self) -> None:
        """Before a piece of work that can wait: wait as long as a search is under way, where that would slow it down."""
        return

    def records(self, filter: Filter = ANYTHING) -> Iterator[tuple[list[UUID], list[Payload], Vectors]]:
        """Ids, payloads and vectors [n, storage.dim] as stored, unchecked, some hundred at a time."""
        start = None
        while True:
            page = self.page(filter, start)
            if page.ids:
                yield page.ids, page.payloads, page.vectors
            start = page.following
            if start is None:
                return

    def items(self, filter: Filter = ANYTHING) -> Iterator[tuple[list[Entry], Vectors, int]]:
        """Undamaged entries, their base vectors [n, dim] and the number of damaged ones, some hundred at a time."""
        for _, payloads, rows in self.records(filter):
            found = [checked_entry(payload, row) for payload, row in zip(payloads, rows, strict=True)]
            entries = [entry for entry in found if entry is not None]
            kept = rows[[entry is not None for entry in found]]
            yield entries, self.meta.storage.widen(kept, self.meta.dim), len(found) - len(entries)

    def file(self, path: str) -> tuple[list[Entry], Vectors]:
        """The undamaged chunks of one file, and their base vectors [n, dim]."""
        entries: list[Entry] = []
        parts = [np.empty((0, self.meta.dim), np.float32)]
        for some, vectors, _ in self.items(Filter(paths=(path,))):
            here = [entry.path == path for entry in some]  # the filter lets files below `path` through too
            entries += [entry for entry in some if entry.path == path]
            parts.append(vectors[here])
        return entries, np.concatenate(parts)

    def entries(self, ids: Sequence[UUID], vectors: Vectors) -> list[Entry | None]:
        """What is stored under each of `ids`; None where it is gone since it was found, or damaged.

        `vectors` is what `vectors` returned for them, so that they are read once. Warns of damage.
        """
        payloads = self.payloads(ids)
        rows = vectors[:, : self.meta.storage.dim]
        entries = [checked_entry(payloads.get(one), row) for one, row in zip(ids, rows, strict=True)]
        damaged = sum(entry is None and one in payloads for one, entry in zip(ids, entries, strict=True))
        if damaged:
            warnings.warn(
                f"{damaged} chunks of {self.place} were left out, damaged: unbraid index verify", stacklevel=2
            )
        return entries

    def sample(self) -> Vectors:
        """Base vectors [n, dim] of up to SAMPLE chunks drawn at random, which stand for all.

        Reading them takes as long as the rest of a search, so they are read again only after many changes.
        """
        return self.kept_sample(self.recent_version())

    def recent_version(self) -> Version:
        """`version`, of the last answer where that costs nothing."""
        return self.version()

    def kept_sample(self, version: Version) -> Vectors:
        """The sample, read again where `version` is far from the one that it was read of."""
        opened, changes = version
        if self._sample is not None:
            (then, before), rows = self._sample
            if then == opened and (changes == before or changes - before <= STALE * self.size()):
                return rows
        rows = without_damage(self.read_sample())
        self._sample = (opened, changes), rows
        return rows

    def renew_words(self) -> int:
        """Count the words of every chunk again where an earlier version did; returns of how many.

        Nothing is encoded or read from files. It may be cut off and repeated. A damaged chunk keeps its words.
        """
        if self.meta.words == VERSION:
            return 0
        renewed = 0
        for ids, payloads, rows in self.records():
            entries = [checked_entry(payload, row) for payload, row in zip(payloads, rows, strict=True)]
            words = {
                one: document_words(entry.snippet, entry.path, entry.modality, entry.context)
                for one, entry in zip(ids, entries, strict=True)
                if entry is not None
            }
            self.set_words(words)
            renewed += len(words)
        self.set_meta(replace(self.meta, words=VERSION))
        return renewed

    def word_scores(
        self, queries: Sequence[edge.SparseVector], ids: Sequence[Sequence[UUID]]
    ) -> list[Scores]:
        """BM25 scores [m] of the chunks `ids[i]` for the words of query i; 0 without any of them."""
        found = self.words_among(queries, ids)
        return [scores_among(one, some) for one, some in zip(found, ids, strict=True)]

    def delete_replaced(self, files: Mapping[str, Entry]) -> None:
        """Of files, by path, whose chunks are all in, remove those of another content than their entry's."""
        states = self.files()
        self.delete_older(entry for path, entry in files.items() if states[path].versions > 1)


def copy_items(source: Store, target: Store, on_progress: Callable[[int], None]) -> int:
    """Put every undamaged item of `source` into `target`, nothing encoded; returns how many were damaged.

    Of a file that `target` had with another content, the older chunks go once the new ones are all in. What else
    `target` has stays.
    """
    left_out, files = 0, {}
    for entries, vectors, damaged in source.items():
        target.upsert(entries, vectors)
        files.update({entry.path: entry for entry in entries})
        left_out += damaged
        on_progress(len(entries))
    target.delete_replaced(files)
    return left_out


def scores_among(found: Candidates, ids: Sequence[UUID]) -> Scores:
    """The scores [m] of chunks in what a query found; 0 of one that it did not find."""
    known = dict(zip(found.ids(), found.scores().tolist(), strict=True))
    return np.asarray([known.get(one, 0.0) for one in ids], np.float32)


def without_damage(rows: Vectors) -> Vectors:
    """Unchecked base vectors [n, dim] with every damaged number set to 0, which cannot spoil a product."""
    return np.where(np.abs(rows) <= LARGEST, rows, np.float32(0))


def check_vectors(vectors: Vectors, count: int, dim: int) -> None:
    """Raise StoreError unless `vectors` are [count, dim] and finite."""
    if vectors.shape != (count, dim) or not np.isfinite(vectors).all():
        raise StoreError(
            f"expected {count} finite vectors of {dim} dimensions, got {vectors.shape}"
            f" with {int((~np.isfinite(vectors)).sum())} values not finite"
        )
