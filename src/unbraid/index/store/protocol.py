"""What an index is, wherever it is kept: in a folder (store.py) or on a Qdrant server (qdrant_server.py)."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self
from uuid import UUID

import numpy as np
import qdrant_edge as edge

from unbraid.index.protocol import Scores, Vectors
from unbraid.index.store.entry import Entry, Fields
from unbraid.index.store.file_state import FileState
from unbraid.index.store.filter import ANYTHING, Only
from unbraid.index.store.meta import Meta

# Of a number in a base vector, whose length is about 1: what is larger, or no number, is damage.
LARGEST = 10.0


class Point(Protocol):
    """What a store found."""

    @property
    def id(self) -> object:
        """What it is stored under."""
        ...

    @property
    def score(self) -> float:
        """What it was found by."""
        ...


@dataclass(frozen=True)
class Candidates:
    """What a query found, best first; ids are made of those that are asked for, since making them costs as much as finding."""

    points: Sequence[Point]

    def __len__(self) -> int:
        """How many."""
        return len(self.points)

    def ids(self, some: slice = slice(None)) -> list[UUID]:
        """What they are stored under."""
        found = [point.id for point in self.points[some]]
        return [one if isinstance(one, UUID) else UUID(str(one)) for one in found]  # a server writes them out

    def scores(self) -> Scores:
        """What they were found by [n]."""
        return np.asarray([point.score for point in self.points], np.float32)


def tamed(rows: Vectors) -> Vectors:
    """Base vectors [n, dim] that nobody has checked, such that damage in one cannot spoil what is computed with all."""
    return np.where(np.abs(rows) <= LARGEST, rows, np.float32(0))


class Collection(Protocol):
    """An open index. A write has happened, and lasts, when its call returns; doing it again changes nothing.

    What may be missing from it is damaged: an item whose checksum does not match is never handed out.
    """

    meta: Meta

    def upsert(self, entries: Sequence[Entry], vectors: Vectors) -> None:
        """Add or replace `entries` with their base vectors [n, dim]."""

    def delete(self, paths: Iterable[str]) -> None:
        """Remove every chunk of `paths`."""

    def delete_older(self, files: Iterable[Entry]) -> None:
        """Remove every chunk of each entry's path that is not of the entry's content."""

    def restate(self, files: Mapping[str, tuple[int, Fields]]) -> None:
        """Remember a new modification time in ns and new fields, by path, of files whose content is the same."""

    def take_over(self, copies: Mapping[str, tuple[str, int]], fields: Fields) -> set[str]:
        """Store files under new paths with the vectors of another path: {new: (old, mtime in ns)}; returns those in."""
        ...

    def settle(self) -> bool:
        """Put in order what many writes left behind; whether there was anything to do."""
        ...

    def files(self) -> dict[str, FileState]:
        """What the index holds, by path."""
        ...

    def count(self, only: Only = ANYTHING) -> int:
        """Number of chunks that `only` lets through."""
        ...

    def size(self) -> int:
        """About the number of chunks, at no cost."""
        ...

    def nearest(self, queries: Vectors, limit: int, only: Only = ANYTHING) -> list[Candidates]:
        """For each query of [n, dim] the `limit` chunks of the largest inner products."""
        ...

    def nearest_words(
        self, queries: Sequence[edge.SparseVector], limit: int, only: Only = ANYTHING
    ) -> list[Candidates]:
        """For each query's words the `limit` chunks of the best BM25 scores."""
        ...

    def word_scores(
        self, queries: Sequence[edge.SparseVector], ids: Sequence[Sequence[UUID]]
    ) -> list[Scores]:
        """BM25 scores [m] of the chunks `ids[i]` for the words of query i; 0 without any of them."""
        ...

    def sample(self) -> Vectors:
        """Base vectors [n, dim] of up to 2,000 chunks drawn at random, which stand for all."""
        ...

    def vectors(self, ids: Sequence[UUID]) -> Vectors:
        """Base vectors [n, dim] as they are stored, checked by nobody; no numbers where an id is gone."""
        ...

    def entries(self, ids: Sequence[UUID], vectors: Vectors) -> list[Entry | None]:
        """What is stored under each of `ids` with what `vectors` has of them; None, and one warning, where it is damaged."""
        ...

    def items(self) -> Iterator[tuple[list[Entry], Vectors, int]]:
        """Every item that is sound with its base vector, some hundred at a time, and how many of them are damaged."""
        ...

    def close(self) -> None:
        """Let go of it; a second call does nothing."""

    def __enter__(self) -> Self:
        """The collection itself."""
        ...

    def __exit__(self, *about: object) -> None:
        """Close."""


def copy(source: Collection, target: Collection, say: Callable[[int], None]) -> int:
    """Put every sound item of `source` into `target`, nothing encoded; returns how many were damaged and left out.

    Of a file that `target` had with another content, the older chunks go once the new ones are all in. What else
    `target` has stays.
    """
    left_out, files = 0, {}
    for entries, vectors, damaged in source.items():
        target.upsert(entries, vectors)
        files.update({entry.path: entry for entry in entries})
        left_out += damaged
        say(len(entries))
    drop_older(target, files)
    return left_out


def drop_older(target: Collection, files: Mapping[str, Entry]) -> None:
    """Of files, by path, whose chunks are all in `target`, remove those of another content than their entry's."""
    states = target.files()
    target.delete_older(entry for path, entry in files.items() if states[path].versions > 1)
