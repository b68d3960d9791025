"""Items that an index's old bundle and a new one have both encoded, for the fit of a converter.

Three sources, the best first: items whose file still has the content that was indexed, cut again, so that only the new
bundle has to encode; texts that the user gives; the texts that the index itself keeps, which lack the headings and
definitions around them. The last two need the old bundle too.
"""

import hashlib
import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unbraid.embedder import Embedder
from unbraid.errors import DataError, StoreError
from unbraid.index.chunk import chunk_file
from unbraid.index.entry import Entry
from unbraid.index.model import Vectors
from unbraid.index.store import Store
from unbraid.items import Code, Item, Modality, item_modality, suffix_modality

OF_ONE_FILE = 20  # items, where files are many: neighbours of one tell less than as many of others
BATCH = 256  # encoded at a time


@dataclass(frozen=True)
class Pairs:
    """n items in both base spaces: old [n, A], new [n, B], their modality, how many came from where."""

    old: Vectors
    new: Vectors
    kinds: Sequence[Modality]
    sources: dict[str, int]


@dataclass(frozen=True)
class Sample:
    """Items of an index and their base vectors as they are stored [n, A]; `paths` are the files they are from."""

    items: Sequence[Item]
    kinds: Sequence[Modality]
    stored: Vectors
    paths: frozenset[str]


def from_files(store: Store, modalities: Collection[str], count: int, *, seed: int = 0) -> Sample:
    """At most `count` items of `store` whose file has not changed, drawn at random, as many of each kind as there are.

    Kinds are those in `modalities`; what one has too few of goes to the others. No text is in twice.
    """
    by_kind: dict[str, list[str]] = {}
    for path, state in store.files().items():
        if state.complete:
            by_kind.setdefault(suffix_modality(Path(path)), []).append(path)
    rng = random.Random(seed)
    found: dict[Item, tuple[Modality, Vectors]] = {}
    paths: set[str] = set()
    left = [kind for kind in sorted(by_kind, key=lambda kind: len(by_kind[kind])) if kind in modalities]
    for number, kind in enumerate(left):  # the one with the fewest files first
        share = (count - len(found)) // (len(left) - number)
        wanted = len(found) + share
        most = max(OF_ONE_FILE, 2 * share // len(by_kind[kind]))
        for path in rng.sample(by_kind[kind], len(by_kind[kind])):
            if len(found) >= wanted:
                break
            again = cut_again(*store.file(path))
            chosen = rng.sample(again, min(len(again), most, wanted - len(found)))
            found |= {item: (modality, vector) for item, modality, vector in chosen}
            if again:
                paths.add(path)
    stored = np.asarray([vector for _, vector in found.values()], np.float32).reshape(-1, store.meta.dim)
    return Sample(list(found), [modality for modality, _ in found.values()], stored, frozenset(paths))


def cut_again(entries: Sequence[Entry], vectors: Vectors) -> list[tuple[Item, Modality, Vectors]]:
    """Those of one file's items that can be read from it as they were indexed, with their vectors."""
    if not entries:
        return []
    path = Path(entries[0].path)
    try:
        data = path.read_bytes()
    except OSError:
        return []
    if hashlib.sha256(data).hexdigest() != entries[0].sha256:
        return []
    if entries[0].modality == "image":
        return [(path, "image", vectors[0])]
    try:
        parts = chunk_file(data, path.suffix)
    except DataError:  # read by a library that is no longer here
        return []
    return [
        (Code(part.encoded) if entry.modality == "code" else part.encoded, entry.modality, vector)
        for entry, vector in zip(entries, vectors, strict=True)
        if entry.chunks == len(parts)
        for part in [parts[entry.chunk]]
        if part.snippet == entry.snippet  # else another version of unbraid cut it
    ]


def from_kept_texts(store: Store, count: int, besides: Collection[str] = ()) -> list[Item]:
    """At most `count` different texts and pieces of code that `store` keeps, none of the files `besides`.

    They come in the order of their ids, which are hashes: at random.
    """
    texts: dict[Item, None] = {}
    for entries, _, _ in store.items():
        for entry in entries:
            if len(texts) >= count:
                return list(texts)
            if entry.snippet and entry.path not in besides:
                texts[Code(entry.snippet) if entry.modality == "code" else entry.snippet] = None
    return list(texts)


def make_pairs(
    store: Store,
    old: Embedder | None,
    new: Embedder,
    *,
    count: int,
    texts: Sequence[Item] = (),
    seed: int = 0,
    say: Callable[[int], None] = lambda count: None,
) -> Pairs:
    """At most `count` pairs: from `texts` where they are given, else from unchanged files, then from kept texts.

    Without the `old` bundle only files serve. `say` hears how many are encoded. Raises StoreError when `old` is not the
    bundle that the index was made with, and for `texts` without it.
    """
    if old is not None and (old.base_id, old.dim) != (store.meta.base_id, store.meta.dim):
        raise StoreError(
            f"{store.folder} was made with {store.meta.provenance.bundle or 'another bundle'}, base {store.meta.base_id}, "
            f"and {old.name} has base {old.base_id}: give the one it was made with as --from"
        )
    if texts and old is None:
        raise StoreError(
            "texts of your own have to be encoded by the old bundle too: give it as --from BUNDLE"
        )
    given: list[Item] = random.Random(seed).sample(list(texts), min(count, len(texts)))
    sample = from_files(store, new.modalities, 0 if given else count, seed=seed)
    if old is not None and not given:
        given = from_kept_texts(store, count - len(sample.items), sample.paths)
    old_vectors, storage = sample.stored, store.meta.storage
    if old is not None:
        stored = storage.narrow(encode(old, given, lambda count: None))
        old_vectors = np.concatenate([old_vectors, storage.widen(stored, store.meta.dim)])
    new_vectors = encode(new, [*sample.items, *given], say)
    kinds = [*sample.kinds, *(item_modality(item) for item in given)]
    sources = {
        "unchanged files": len(sample.items),
        "your texts" if texts else "texts kept in the index": len(given),
    }
    return Pairs(
        old_vectors, new_vectors, kinds, {name: number for name, number in sources.items() if number}
    )


def encode(model: Embedder, items: Sequence[Item], say: Callable[[int], None]) -> Vectors:
    """Base vectors of `items`; what is too long is cut, as it is when it is indexed."""
    parts = [np.empty((0, model.dim), np.float32)]
    for start in range(0, len(items), BATCH):
        batch = items[start : start + BATCH]
        parts.append(model.encode(batch, on_truncate="ignore", progress=False))
        say(len(batch))
    return np.concatenate(parts)
