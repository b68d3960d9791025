"""Keep an index in line with the disk: `watchfiles` tells which files changed, and those are indexed.

What one save or one `git checkout` changes comes as one batch, QUIET after its last change. Nothing is told of changes behind
a link that leads out of the roots, and on some network disks.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from unbraid.errors import DataError, StoreError, require
from unbraid.index.add import Report
from unbraid.index.files.gitignore import NAME as GITIGNORE
from unbraid.index.files.rules import OWN_NAME
from unbraid.index.files.walk import NEVER_ENTERED, NEVER_ENTERED_WITH, Skipped
from unbraid.index.index import Index
from unbraid.index.store.shared_store import IndexGone
from unbraid.io.lock import FolderHeld

QUIET = 0.2  # seconds without a change that end a batch
LONGEST = 2.0  # seconds of changes that are one batch, also without such a pause
TICK = 0.5  # seconds between two looks at what nothing is told of
# What decides about its whole folder.
DECIDES = frozenset({GITIGNORE, OWN_NAME, ".git", *NEVER_ENTERED_WITH})
Tell = Callable[[Report | StoreError], None]


def watch(index: Index, tell: Tell, stop: threading.Event) -> None:
    """Bring the roots of `index` in line with the disk, now and after every change, until `stop` is set or Ctrl-C.

    `tell` gets the report of each batch, or the error of one that is tried again. Raises MissingExtraError without
    watchfiles, StoreError for an index without roots or one that is gone, DataError when the system has too few watches left.
    """
    require("watchfiles", "watch")
    while not stop.is_set():
        roots = [Path(root.path) for root in index.roots()]
        watched = _identities(roots)
        # Started first: what changes while all is looked at is not missed.
        batches = _batches([root for root in roots if root.is_dir()], _own_folder(index), stop)
        changed = next(batches, set())
        links = Links()
        try:
            report = index.refresh(on_skip=links.note_skipped)
        except FolderHeld as held:
            tell(held)
            stop.wait(TICK)
            continue
        tell(report)
        links.note(Path(path) for path in index.store.facet("path"))
        if report.interrupted:
            return
        follow = _Follow(index, tell, links, changed)
        for batch in batches:
            now = _identities(roots)
            if _was_replaced(watched, now):
                break
            watched = now
            if not follow.take(batch):
                return


@dataclass
class _Follow:
    """Indexes batch by batch."""

    index: Index
    tell: Tell
    links: "Links"
    changed: set[Path]  # that is not indexed yet

    def take(self, batch: set[Path]) -> bool:
        """Index a batch and what is left of those before; False when Ctrl-C came."""
        self.changed |= batch
        if not self.changed:
            return True
        places = outermost(places_of(self.changed | self.links.to(self.changed)))
        try:
            report = self.index.refresh_places(places, on_skip=self.links.note_skipped)
        except IndexGone:  # nothing brings it back
            raise
        except StoreError as error:  # another process writes, or the disk is full: again with the next batch
            self.tell(error)
            return True
        self.changed = set()
        self.links.note(places)
        if report.added or report.changed or report.moved or report.deleted or report.interrupted:
            self.tell(report)
        return not report.interrupted


def places_of(changed: Iterable[Path]) -> set[Path]:
    """What to look at for changed files and folders: themselves, or the folder that one of them decides about."""
    places = set()
    for path in changed:
        if path.name in DECIDES:
            path = path.parent
        elif path.parts[-3:] == (".git", "info", "exclude"):
            path = path.parents[2]
        places.add(path)
    return places


def outermost(places: Iterable[Path]) -> list[Path]:
    """Those of `places` that lie in no other, in order."""
    found: list[Path] = []
    for place in sorted(places, key=lambda path: path.parts):
        if not found or found[-1] not in place.parents and found[-1] != place:
            found.append(place)
    return found


class Links:
    """Links to files in the roots, by where they lead: a change there is told, and not one of the link."""

    def __init__(self) -> None:
        """None is known yet."""
        self._by_target: dict[Path, set[Path]] = {}

    def note(self, paths: Iterable[Path]) -> None:
        """Remember those of `paths` that are links."""
        for path in paths:
            if path.is_symlink():
                self._by_target.setdefault(Path(os.path.realpath(path)), set()).add(path)

    def note_skipped(self, skipped: Skipped) -> None:
        """Remember a link that leads nowhere yet, or to something that is left out now."""
        self.note([skipped.path])

    def to(self, changed: Iterable[Path]) -> set[Path]:
        """The links that lead to one of `changed`, or into it."""
        if not self._by_target:
            return set()
        places = set(changed)
        return {
            link
            for target, links in self._by_target.items()
            if target in places or not places.isdisjoint(target.parents)
            for link in links
        }


def is_passed_over(place: Path, roots: Iterable[Path]) -> bool:
    """Whether a changed path lies in a folder that no walk of its root enters, and decides about nothing outside it."""
    nearest = max(
        (root for root in roots if place.is_relative_to(root)),
        key=lambda root: len(root.parts),
        default=place,
    )
    inside = NEVER_ENTERED.intersection(place.relative_to(nearest).parts)
    return bool(inside) and place.name != ".git" and place.parts[-3:] != (".git", "info", "exclude")


def _own_folder(index: Index) -> Path | None:
    """The folder of the index, whose changes are its own."""
    place = Path(os.path.realpath(index.place))
    return place if place.is_dir() else None


def _batches(folders: list[Path], own: Path | None, stop: threading.Event) -> Iterator[set[Path]]:
    """The changed paths in `folders`, batch by batch; an empty one when nothing changed for TICK."""
    if not folders:
        while not stop.wait(TICK):
            yield set()
        return
    from watchfiles import watch as changes

    def wanted(_: object, path: str) -> bool:
        place = Path(path)
        if own is not None and (place == own or own in place.parents):
            return False
        return not is_passed_over(place, folders)

    try:
        for batch in changes(
            *folders,
            watch_filter=wanted,
            debounce=int(LONGEST * 1000),
            step=int(QUIET * 1000),
            rust_timeout=int(TICK * 1000),
            yield_on_timeout=True,
            stop_event=stop,
            ignore_permission_denied=True,
        ):
            yield {Path(path) for _, path in batch}
    except OSError as error:
        raise DataError(
            f"{', '.join(map(str, folders))} cannot be watched ({error}). Linux watches a limited number of folders for all "
            "programs of a user together; allow more: sudo sysctl fs.inotify.max_user_watches=1048576 "
            "fs.inotify.max_user_instances=1024. Or run `unbraid index` again from time to time"
        ) from error


def _identities(roots: Iterable[Path]) -> list[object]:
    """What changes when a root is replaced: which folder it is; of a file also its size and time."""
    found: list[object] = []
    for root in roots:
        try:
            about = os.stat(root)
        except OSError:
            found.append(None)
            continue
        of_file = () if root.is_dir() else (about.st_size, about.st_mtime_ns)
        found.append((about.st_dev, about.st_ino, *of_file))
    return found


def _was_replaced(before: Iterable[object], now: Iterable[object]) -> bool:
    """Whether a root is there that is not the one watched; one that is gone may come back."""
    return any(new is not None and new != old for old, new in zip(before, now, strict=True))
