"""Items that an index's old bundle and a new one have both encoded, for the fit of a converter.

They are items of the index itself. Their old vectors are stored, and so is the text that was encoded. A picture can be
used where its file still has the same content. So only the new bundle has to encode, and the old one is not needed.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unbraid.embedder import Embedder
from unbraid.errors import ImageError
from unbraid.index.protocol import Vectors
from unbraid.index.store.entry import Entry
from unbraid.index.store.filter import Filter
from unbraid.index.store.scan import sha256_of
from unbraid.index.store.store import Store
from unbraid.items import MODALITIES, Code, Item, Modality

BATCH = 128  # encoded at a time


@dataclass(frozen=True)
class Pairs:
    """n items in both base spaces: old [n, A], new [n, B], and their modality."""

    old: Vectors
    new: Vectors
    kinds: Sequence[Modality]


def kinds_of(store: Store) -> dict[Modality, int]:
    """Items of each kind in `store`."""
    counts = store.facet("modality")
    return {kind: counts[kind] for kind in MODALITIES if counts.get(kind)}


def make_pairs(
    store: Store, new: Embedder, *, count: int, on_progress: Callable[[int], None] = lambda count: None
) -> Pairs:
    """At most `count` items of `store`, drawn at random, none twice, with their vectors under `new`.

    Every kind has the same share; what one cannot fill goes to the kinds that have more.
    """
    olds: list[Vectors] = [np.empty((0, store.meta.dim), np.float32)]
    news: list[Vectors] = [np.empty((0, new.dim), np.float32)]
    kinds: list[Modality] = []
    held = kinds_of(store)
    left = sorted((kind for kind in held if kind in new.modalities), key=lambda kind: held[kind])
    for number, kind in enumerate(left):  # the one with the fewest first
        wanted = len(kinds) + (count - len(kinds)) // (len(left) - number)
        for items, stored in _batches(store, kind):
            if len(kinds) >= wanted:
                break
            items, stored = items[: wanted - len(kinds)], stored[: wanted - len(kinds)]
            try:
                # What is too long is cut, as it was when it was indexed.
                encoded = new.encode(items, on_truncate="ignore", progress=False)
            except ImageError:  # one of them, which the old bundle's decoder could read
                continue
            olds.append(stored)
            news.append(encoded)
            kinds += [kind] * len(items)
            on_progress(len(items))
    return Pairs(np.concatenate(olds), np.concatenate(news), kinds)


def _batches(store: Store, kind: Modality) -> Iterator[tuple[list[Item], Vectors]]:
    """Different items of `kind` with their stored vectors, some at a time, in the order of ids, which are hashes."""
    seen: set[str] = set()
    items: list[Item] = []
    rows: list[Vectors] = []
    for entries, vectors, _ in store.items(Filter(modality=kind)):
        for entry, vector in zip(entries, vectors, strict=True):
            if entry.modality != kind:  # words in a picture
                continue
            mark = entry.sha256 if kind == "image" else entry.text
            if mark in seen:
                continue
            seen.add(mark)
            item = item_of(entry)
            if item is not None:
                items.append(item)
                rows.append(vector)
            if len(items) == BATCH:
                yield items, np.stack(rows)
                items, rows = [], []
    if items:
        yield items, np.stack(rows)


def item_of(entry: Entry) -> Item | None:
    """What was encoded for `entry`; None for a page, and for a picture whose file is gone or has changed."""
    if entry.modality == "image":
        if entry.first_line is not None:
            return None
        return Path(entry.path) if sha256_of(entry.path) == entry.sha256 else None
    return Code(entry.text) if entry.modality == "code" else entry.text
