"""Reads every item of an index and checks it, in a process of its own: `python -m unbraid.index.store.scan FOLDER`.

A damaged file can make the library panic, end the process or keep it busy for ever. So verify.py, which holds the
index's lock, runs this as a child. It writes JSON lines: {"total"}, {"done"}, {"damaged"} with the fields of `Damage`,
at last {"items"} that are undamaged. With --into NAME it writes these into a new Edge store beside the old one, which
then takes its place.
"""

import hashlib
import json
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as edge

from unbraid.errors import DataError, StoreError
from unbraid.index.files.read import read_chunks
from unbraid.index.store.bm25 import VERSION
from unbraid.index.store.checksum import damage, identity_of, to_entry
from unbraid.index.store.edge import (
    edge_errors,
    index_fields,
    make_edge,
    prepare_points,
    require_room,
    upsert_operations,
)
from unbraid.index.store.entry import Entry, point_id
from unbraid.index.store.file_hashes import hashed_items, note_whole
from unbraid.index.store.folder_store import WITH_VECTORS, FolderStore
from unbraid.index.store.meta import write_meta
from unbraid.io.atomic import sync_folder
from unbraid.items import suffix_modality


@dataclass(frozen=True)
class Damage:
    """An item that is not as it was written; what is unknown is None."""

    id: str
    reason: str
    path: str | None = None
    first_line: int | None = None
    last_line: int | None = None
    chunk: int | None = None
    sha256: str | None = None  # of the file it was made from


@dataclass
class _File:
    """Undamaged chunks of one file."""

    sha256: str
    chunks: int
    points: int = 0


def scan(
    store: FolderStore, say: Callable[[dict[str, Any]], None], keep: Callable[..., None] | None = None
) -> int:
    """Check every item of `store`, tell `say` what is found, hand undamaged ones to `keep`; returns their number."""
    files: dict[str, _File] = {}
    damaged: list[Damage] = []
    undamaged = 0
    identities = store.identities()
    say({"total": len(identities)})
    for start in range(0, len(identities), WITH_VECTORS):
        asked = identities[start : start + WITH_VECTORS]
        entries: list[Entry] = []
        rows: list[Any] = []
        for identity, record in _read(store, asked):
            if isinstance(record, Damage):
                damaged.append(record)
                continue
            row = np.asarray(record.vector, np.float32)
            if reason := damage(identity, record.payload, row):
                damaged.append(_described(str(identity), reason, record.payload or {}))
                continue
            entry = to_entry(record.payload or {})
            files.setdefault(entry.path, _File(entry.sha256, entry.chunks)).points += 1
            entries.append(entry)
            rows.append(row)
        if keep and entries:
            keep(entries, np.stack(rows))
        undamaged += len(entries)
        say({"done": len(asked)})
    for one in _named(store, damaged, files):
        say({"damaged": asdict(one)})
    return undamaged


def _read(store: FolderStore, asked: Sequence[uuid.UUID]) -> Iterator[tuple[uuid.UUID, edge.Record | Damage]]:
    """The points of `asked`; one that cannot be read makes the library refuse all, so they are then read singly."""
    try:
        found = store.retrieve(asked)
    except StoreError as refusal:
        if len(asked) == 1:
            yield asked[0], Damage(str(asked[0]), f"it cannot be read: {refusal.__cause__ or refusal}")
            return
        half = len(asked) // 2
        yield from _read(store, asked[:half])
        yield from _read(store, asked[half:])
        return
    by_id = {str(record.id): record for record in found}
    for identity in asked:
        yield identity, by_id.get(str(identity)) or Damage(str(identity), "its id leads to nothing")


def _described(identity: str, reason: str, payload: dict[str, Any]) -> Damage:
    """What a damaged payload says of itself, where its id confirms it."""
    if identity_of(payload) != identity:
        return Damage(identity, reason)
    lines = (payload.get("first_line"), payload.get("last_line"))
    return Damage(identity, reason, payload["path"], *lines, payload["chunk"], payload["sha256"])


def _named(store: FolderStore, damaged: list[Damage], files: dict[str, _File]) -> Iterator[Damage]:
    """The damaged items, those whose payload is unreadable named by what else is known.

    An item's id is a hash of path, content and chunk. So: the missing chunks of files whose other chunks are undamaged;
    then the paths of which the index over paths has more chunks than are undamaged, with the content found there.
    """
    nameless = {item.id: item for item in damaged if item.path is None}
    yield from (item for item in damaged if item.path is not None)
    for path, file in files.items():
        if nameless and file.points < file.chunks:
            yield from _matching(nameless, path, file.sha256, file.chunks)
    candidates: list[str] = []
    if nameless:
        try:
            counts = store.facet("path")
        except StoreError:
            counts = {}
        told = {item.path for item in damaged}
        for path, count in counts.items():
            have = files[path].points if path in files else 0
            if count > have:
                found = list(_matching(nameless, path, sha256_of(path), count))
                yield from found
                if not found and path not in told:
                    candidates.append(path)
    for item in nameless.values():  # one item and one path are left: they belong together
        yield replace(item, path=candidates[0]) if len(nameless) == len(candidates) == 1 else item


def _matching(nameless: dict[str, Damage], path: str, sha256: str | None, chunks: int) -> Iterator[Damage]:
    """Those of `nameless` that are chunks of this content at `path`; they are taken out."""
    for chunk in range(chunks if sha256 else 0):
        item = nameless.pop(str(point_id(path, str(sha256), chunk)), None)
        if item:
            first, last = _lines(path, str(sha256), chunk, chunks)
            yield replace(item, path=path, chunk=chunk, sha256=sha256, first_line=first, last_line=last)


def _lines(path: str, sha256: str, chunk: int, chunks: int) -> tuple[int | None, int | None]:
    """The lines of a chunk, from the file itself where it still has this content and is cut in as many chunks."""
    try:
        data = Path(path).read_bytes()
        if hashlib.sha256(data).hexdigest() == sha256 and suffix_modality(path) != "image":
            parts = read_chunks(data, Path(path).suffix)
            if len(parts) == chunks:  # an earlier version, or another encoder, may have cut it otherwise
                return parts[chunk].first_line, parts[chunk].last_line
    except (OSError, DataError):
        pass
    return None, None


def sha256_of(path: str) -> str | None:
    """Hash of the file at `path`; None when it cannot be read."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return None


def rewrite(store: FolderStore, name: str, say: Callable[[dict[str, Any]], None]) -> int:
    """Put the undamaged items of `store` into a new Edge store called `name`, which takes the old one's place.

    Up to the last step the old one counts, so it may be cut off anywhere. Returns the number of items.
    """
    path = store.folder / name
    unfinished = path.with_name(name + ".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    made = make_edge(unfinished, store.meta.storage)

    def keep(entries: list[Entry], rows: Any) -> None:
        points = prepare_points(entries, rows, store.meta.storage)
        require_room(store.folder, points.room)
        with edge_errors():
            for operation in index_fields(made.info().payload_schema, points.fields):
                made.update(operation)
            for operation in upsert_operations(points):
                made.update(operation)

    items = scan(store, say, keep)
    with edge_errors():
        made.flush()
        made.close()
    unfinished.rename(path)
    sync_folder(store.folder)
    store.forget_file_hashes()
    write_meta(store.folder, replace(store.meta, shard=name, words=VERSION))
    note_whole(store.folder)  # only now: the files of the old one may be cut
    return items


def main(folder: str, name: str | None = None) -> None:
    """Scan the index in `folder` and write what is found to standard output; the parent process holds its lock."""

    def say(fact: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(fact) + "\n")
        sys.stdout.flush()

    try:
        with FolderStore(Path(folder), None) as store:
            items = rewrite(store, name, say) if name else scan(store, say)
            if not name and items == store.count() and hashed_items(store.folder) is None:
                store.renew_file_hashes()  # its last writer was killed; what it left is whole
        if name:
            with FolderStore(Path(folder), None) as store:
                store.renew_file_hashes()
        say({"items": items})
    except StoreError as error:
        say({"error": str(error)})
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[3] if sys.argv[2:] and sys.argv[2] == "--into" else None)
