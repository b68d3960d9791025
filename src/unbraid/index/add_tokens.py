"""Token vectors of chunks, for a second look that need not encode them: stored beside the index while it is filled."""

import hashlib
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from unbraid.index.protocol import Model
from unbraid.index.roots import Root, owners
from unbraid.index.search.document_tokens import Passage, encode_passages, head_of, stored_by
from unbraid.index.search.token_cache import TokenCache, content_key
from unbraid.index.store.entry import Entry
from unbraid.index.store.folder_store import FolderStore
from unbraid.index.store.shared_store import SharedStore
from unbraid.index.store.store import Store


def folder_of(store: Store) -> Path | None:
    """The folder that a store keeps its files in; None on a server."""
    return store.folder if isinstance(store, SharedStore | FolderStore) else None


def delete_files(store: Store, paths: Iterable[str], cache: TokenCache, moved: Collection[str] = ()) -> None:
    """Delete files with their token vectors, which say something of a text; `moved` are those that are elsewhere now."""
    paths = list(paths)
    contents: set[bytes] = set()
    if cache.bytes():
        entries = (one for path in paths if path not in moved for one in store.file(path)[0])
        contents = {content_key(one.text, one.modality) for one in entries}
    store.delete(paths)
    cache.drop(contents)


def store_tokens(model: Model, entries: Iterable[Entry], cache: TokenCache) -> None:
    """Encode the tokens of those chunks that are not stored yet; pictures have none, and passages that no head reads."""
    reader = stored_by(model)
    passages = [one for entry in entries if (one := Passage.of(model, entry, reader)) is not None]
    by_key = {one.key: one for one in passages}
    held = cache.held(list(by_key))
    cache.write(encode_passages(model, [one for key, one in by_key.items() if key not in held]))


def wanted_keys(store: Store, model: Model, roots: Iterable[Root]) -> set[bytes]:
    """The keys of all chunks in those `roots` that have their tokens stored."""
    owner, reader = owners(roots), stored_by(model)
    return {
        passage.key
        for entries, _, _ in store.items()
        for one in entries
        if (root := owner.of(one.path)) is not None and root.multi_vector
        if (passage := Passage.of(model, one, reader)) is not None
    }


def mark_of(model: Model, roots: Iterable[Root]) -> int:
    """What a cache is marked with that has all tokens of `roots` by the heads of a model: other ones have another mark."""
    tiers = getattr(getattr(model, "bundle", None), "tiers", {})
    reader = stored_by(model)
    chosen = {reader: tiers[reader]} if reader else tiers
    heads = [head_of(model, tier, modality) for tier, specs in chosen.items() for modality in specs]
    parts = [*(head.key.hex() for head in heads if head), *(f"{one.multi_vector}{one.path}" for one in roots)]
    digest = hashlib.blake2b("\0".join(sorted(parts)).encode("utf-8", "surrogatepass"), digest_size=4)
    # Never 0, which is that of a new file.
    return int.from_bytes(digest.digest()) >> 1 | 1


def store_all_tokens(
    store: Store, model: Model, roots: Iterable[Root], cache: TokenCache, done: Callable[[int], None]
) -> None:
    """Encode the tokens of what is in the index already, in those `roots` that want it; calls `done` with numbers of chunks."""
    owner = owners(roots)
    for entries, _, _ in store.items():
        wanted = [one for one in entries if (root := owner.of(one.path)) is not None and root.multi_vector]
        store.give_way()
        store_tokens(model, wanted, cache)
        done(len(entries))
