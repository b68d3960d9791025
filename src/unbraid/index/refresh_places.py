"""Bring a few files and folders of an index in line with the disk, at a cost that does not grow with the index."""

import os
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from itertools import chain
from pathlib import Path

from msgspec import structs

from unbraid.index.add import Report, add_files, lost_most
from unbraid.index.files.walk import Skip, Skipped, Walk, printable
from unbraid.index.protocol import Model
from unbraid.index.roots import Nearest, Plan, owners, read_roots, write_roots
from unbraid.index.skipped import read_skipped, write_skipped
from unbraid.index.store.filter import ANYTHING, Filter
from unbraid.index.store.shared_store import SharedStore
from unbraid.index.store.store import Store

FEW = 200  # places: of more, the state of all files is read, and not those below each place


def refresh_places(store: Store, model: Model, places: Sequence[Path], on_skip: Skip | None = None) -> Report:
    """Index what is at `places`, which lie in roots of `store`, and delete what is gone there.

    A file that was moved from one of the places to another is not encoded again. Below a root that is missing or empty, which
    may not be mounted, nothing is done.
    """
    with store.writing():
        roots = read_roots(store)
        owner = owners(roots)
        chosen = [
            place for place in places if (root := owner.of(place.as_posix())) and _is_there(Path(root.path))
        ]
        if not chosen:
            return Report()
        here = Filter(paths=tuple(map(str, map(Path.as_posix, chosen)))) if len(chosen) <= FEW else ANYTHING
        before = store.files(here)
        plan = Plan(roots, chosen, [])
        report = add_files(store, model, plan, before, prune=True, on_skip=on_skip, progress=False)
        if isinstance(store, SharedStore) and not report.interrupted:
            write_skipped(store, plan, report.skipped)
        if report.added or report.moved or report.deleted:
            count: Counter[str] = Counter()
            for files, step in ((before, -1), (store.files(here), 1)):
                for path in files:
                    count[root.path if (root := owner.of(path)) else ""] += step
            write_roots(
                store, [structs.replace(root, files=max(0, root.files + count[root.path])) for root in roots]
            )
    return report


def changed_places(store: Store) -> list[Path]:
    """Files in the roots of `store` that differ from the disk by size or time, are new, or are gone.

    Below a root that is missing or empty, or has lost most of its files, nothing counts as gone: it may not be mounted. A file
    that the last run left out counts when it has changed since.
    """
    roots, known = read_roots(store), store.files()
    left_out = {one.path for part in read_skipped(store, roots) for one in part.files}
    stamps = {path: (state.size, state.mtime_ns) for path, state in known.items() if state.complete}
    skipped: list[Skipped] = []
    seen: set[str] = set()
    changed = []
    for root in roots:
        apart = {one.path for one in roots} - {root.path}
        looked = datetime.fromisoformat(root.refreshed).timestamp() * 1e9 if root.refreshed else 0
        for file in Walk(Path(root.path), skipped.append, root.choice, apart=apart, known=stamps).files():
            seen.add(file.name)
            if file.mtime_ns < looked and printable(file.name) in left_out:
                continue
            if stamps.get(file.name) != (file.size, file.mtime_ns):
                changed.append(file.path)
    there = owners(root for root in roots if _is_there(Path(root.path)))
    unreadable = Nearest({one.path.as_posix(): True for one in skipped if one.reason == "unreadable"})
    held, gone = Counter[str](), dict[str, list[Path]]()
    for path in known:
        if (owner := there.of(path)) is None:
            continue
        held[owner.path] += 1
        if path not in seen and not unreadable.of(path):
            gone.setdefault(owner.path, []).append(Path(path))
    lost = (paths for root, paths in gone.items() if not lost_most(len(paths), held[root]))
    return [*changed, *chain.from_iterable(lost)]


def _is_there(root: Path) -> bool:
    """Whether a root is a file, or a folder that is not empty."""
    try:
        with os.scandir(root) as scan:
            return next(scan, None) is not None
    except NotADirectoryError:
        return True
    except OSError:
        return False
