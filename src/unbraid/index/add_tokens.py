"""Token vectors of chunks, for a second look that need not encode them: stored beside the index while it is filled."""

from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from unbraid.index.protocol import Model
from unbraid.index.roots import Root, owners
from unbraid.index.search.document_tokens import Passage, document_tokens
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
    """Encode the tokens of those chunks that are not stored yet; pictures and tiers without a head have none."""
    passages = [one for entry in entries if (one := Passage.of(model, entry)) is not None]
    document_tokens(model, passages, cache)


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
