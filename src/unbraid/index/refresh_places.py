"""Bring a few files and folders of an index in line with the disk, at a cost that does not grow with the index."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from msgspec import structs

from unbraid.index.add import Report, add_files
from unbraid.index.files.walk import Skip
from unbraid.index.protocol import Model
from unbraid.index.roots import Plan, owners, read_roots, write_roots
from unbraid.index.skipped import write_skipped
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
        if isinstance(store, SharedStore):
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


def _is_there(root: Path) -> bool:
    """Whether a root is a file, or a folder that is not empty."""
    try:
        with os.scandir(root) as scan:
            return next(scan, None) is not None
    except NotADirectoryError:
        return True
    except OSError:
        return False
