"""The roots of an index: the files and folders that it was given, with their settings, so that a refresh does the same.

A file belongs to the nearest root that it lies in. Roots are kept beside the index under the name "roots"; an index of an
earlier version has none until its next `add`.
"""

import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import structs

from unbraid.errors import StoreError
from unbraid.index.files.rules import Choice
from unbraid.index.files.walk import Walk, check_exists
from unbraid.index.store.entry import Fields, FileState, read_values, stored_values
from unbraid.index.store.filter import merged
from unbraid.index.store.scan import sha256_of
from unbraid.index.store.store import Store

NOTE = "roots"
T = TypeVar("T")
SAMPLE = 50  # files of a root that are compared to tell that it has moved


class Root(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A file or folder that an index was given, and the settings it was added with."""

    path: str  # absolute, with forward slashes
    include: tuple[str, ...] = ()  # these four as in `Choice`
    exclude: tuple[str, ...] = ()
    hidden: bool = False
    max_size: int | None = None
    ocr: bool = True
    page_images: bool = False
    archives: bool = False
    multi_vector: bool = False
    fields: dict[str, str | int | list[str]] = {}
    files: int = 0  # in the index after the last refresh
    refreshed: str = ""  # when all of it was last brought in line with the disk: "2026-11-29T10:00:00+00:00"
    from_index: str = ""  # its path from the folder of the index, with which it may have moved

    @property
    def choice(self) -> Choice:
        """Which of its files are indexed."""
        return Choice(self.include, self.exclude, self.hidden, self.max_size)

    @property
    def settings(self) -> dict[str, Any]:
        """What it was added with, by name."""
        return {name: getattr(self, name) for name in SETTINGS}


SETTINGS = (
    "include",
    "exclude",
    "hidden",
    "max_size",
    "ocr",
    "page_images",
    "archives",
    "multi_vector",
    "fields",
)


class _Roots(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The note as it is stored."""

    roots: list[Root]
    left: list[str] = []  # as in a Plan, of a run that was cut off


def read_roots(store: Store) -> list[Root]:
    """The roots of an index, by path. Raises StoreError when they cannot be read."""
    return parse_roots(store.read_note(NOTE), store.place)


def read_left(store: Store) -> list[str]:
    """Old paths of roots that have moved, where the run that replaces them was cut off."""
    return _parse(store.read_note(NOTE), store.place).left


def parse_roots(content: bytes | None, place: str) -> list[Root]:
    """The roots in a note of the index at `place`; none without a note. Raises StoreError."""
    return _parse(content, place).roots


def _parse(content: bytes | None, place: str) -> _Roots:
    if content is None:
        return _Roots([])
    try:
        return msgspec.json.decode(content, type=_Roots)
    except msgspec.DecodeError as error:
        raise StoreError(
            f"the roots of {place} cannot be read ({error}): a newer unbraid may have written them; or delete "
            f"{NOTE}.json in its folder and index the roots again: unbraid index PATH..."
        ) from error


def write_roots(store: Store, roots: Iterable[Root], left: Iterable[str] | None = None) -> None:
    """Replace the roots of an index, and what `read_left` gives; None leaves that as it is."""
    kept = [structs.replace(root, fields=dict(merged(root.fields, {}))) for root in roots]
    ordered = sorted(kept, key=lambda root: root.path)
    about = _Roots(ordered, read_left(store) if left is None else list(left))
    store.write_note(NOTE, msgspec.json.format(msgspec.json.encode(about), indent=1))


def copy_roots(source: Store, target: Store) -> None:
    """Give `target`, which has the items of `source`, its roots too, as far as it has none of these paths."""
    held = read_roots(target)
    paths = {root.path for root in held}
    new = [structs.replace(root, from_index="") for root in read_roots(source) if root.path not in paths]
    if new:
        write_roots(target, [*held, *new])


def with_settings(root: Root, given: Mapping[str, Any]) -> Root:
    """`root` with the settings that were given; fields are added to those that it has.

    Raises ItemError for a field that cannot be stored.
    """
    changes = dict(given)
    for name in ("include", "exclude"):
        if name in changes:
            changes[name] = tuple(one for one in changes[name] if one.strip())
    if "fields" in changes:
        fields: Fields = read_values(stored_values(changes["fields"]))
        changes["fields"] = {**root.fields, **fields}  # an empty one still has to be taken from the files
    return structs.replace(root, **changes)


class Nearest(Generic[T]):
    """What is known of the nearest folder that a path lies in, or of the path itself."""

    def __init__(self, known: Mapping[str, T]) -> None:
        """By absolute path, with forward slashes."""
        self._known: dict[str, T | None] = {path.rstrip("/"): value for path, value in known.items()}

    def of(self, path: str) -> T | None:
        """None outside all of them."""
        climbed = []
        place = path.rstrip("/")
        while place not in self._known:
            climbed.append(place)
            if not place:
                break
            place = place.rpartition("/")[0]
        found = self._known.get(place)
        for folder in climbed[1:]:  # not the file itself: its neighbours ask for the same folders
            self._known[folder] = found
        return found


def owners(roots: Iterable[Root]) -> Nearest[Root]:
    """To which root each path belongs."""
    return Nearest({root.path: root for root in roots})


@dataclass(frozen=True)
class Plan:
    """What a run brings in line with the disk."""

    roots: Sequence[Root]  # of the index, with those that were given now
    scopes: Sequence[Path]  # roots, or places in them
    left: Sequence[str]  # roots that have moved: what lies under these old paths is replaced


def plan(
    paths: Iterable[Path] | None,
    stored: Iterable[Root],
    given: Mapping[str, Any],
    known: Mapping[str, FileState],
    folder: Path | None,
    defaults: Mapping[str, Any] = MappingProxyType({}),
    left: Iterable[str] = (),
) -> Plan:
    """The roots that `paths`, absolute and without links, make of the `stored` ones, and what is to be looked at.

    A path is a new root, unless it lies in one that takes it and comes without settings of its own (`given`). A new root
    in another begins with the settings of that one, any other with `defaults`, and one that holds the files of a root that is gone replaces it.
    Without `paths` it is all roots. `left` are old paths that a run before did not get to. `known` are the files of the index in `folder`. Raises DataError for a path that does not exist and never did.
    """
    roots = {root.path: root for root in stored}
    owner = owners(roots.values())
    left = [old for old in left if owner.of(old) is None] + _follow_index(roots, known, folder)
    scopes: list[Path] = []
    if paths is None:
        return Plan(list(roots.values()), [Path(root) for root in roots], left)
    for path in paths:
        place, exists = path.as_posix(), os.path.lexists(path)
        around = owners(roots.values()).of(place)
        if around is None:
            check_exists(path)
        inside = around is not None and around.path != place
        if around is None or (inside and exists and (given or not reaches(around, path))):
            gone = next((root for root in roots.values() if _has_moved(root, path, known, roots)), None)
            if gone is not None:
                _move(gone.path, place, roots)
                left.append(gone.path)
            else:
                start = around or with_settings(Root(place), defaults)
                roots[place] = structs.replace(start, path=place, files=0, refreshed="", from_index="")
        if place in roots:
            roots[place] = with_settings(roots[place], given)
            _absorb(roots[place], roots)
        scopes += [path, *(Path(root) for root in roots if root.startswith(f"{place.rstrip('/')}/"))]
    return Plan(list(roots.values()), list(dict.fromkeys(scopes)), left)


def refreshed(
    roots: Iterable[Root], done: Collection[str], files: Iterable[str], folder: Path | None, *, prune: bool
) -> list[Root]:
    """The roots after a run: with the number of their `files`, and the time where all of one was `done`.

    With `prune`, one that is missing is taken out.
    """
    kept = [root for root in roots if not prune or root.path not in done or os.path.lexists(root.path)]
    owner = owners(kept)
    counts = Counter(found.path for path in files if (found := owner.of(path)) is not None)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return [
        structs.replace(
            root,
            files=counts[root.path],
            refreshed=now if root.path in done else root.refreshed,
            from_index=_relative(root.path, folder),
        )
        for root in kept
    ]


def _relative(path: str, folder: Path | None) -> str:
    """The path of a root from the folder of its index; empty on a server, and on another drive."""
    try:
        return "" if folder is None else Path(os.path.relpath(path, os.path.realpath(folder))).as_posix()
    except ValueError:
        return ""


def reaches(root: Root, path: Path) -> bool:
    """Whether a refresh of `root` takes in the file or folder `path`, which lies in it."""
    return Walk(Path(root.path), lambda skipped: None, root.choice).reaches(path)


def _absorb(outer: Root, roots: dict[str, Root]) -> None:
    """Take out the roots in `outer` that it takes in itself, with the same settings."""
    for inner in list(roots.values()):
        below = inner.path.startswith(f"{outer.path.rstrip('/')}/")
        if below and inner.settings == outer.settings and reaches(outer, Path(inner.path)):
            del roots[inner.path]


def _follow_index(roots: dict[str, Root], known: Mapping[str, FileState], folder: Path | None) -> list[str]:
    """Give new paths to roots that have moved together with the index in `folder`; returns the old ones."""
    left: list[str] = []
    if folder is None:
        return left
    for root in list(roots.values()):
        if not root.from_index or root.path not in roots:
            continue
        place = Path(os.path.normpath(os.path.realpath(folder) + "/" + root.from_index)).as_posix()
        # An index in its own root belongs to the root around it, also where that is a copy.
        in_root = set(root.from_index.split("/")) <= {".."}
        may_have_moved = place != root.path and (in_root or not os.path.lexists(root.path))
        if may_have_moved and _holds_files_of(root, Path(place), known, roots):
            left.append(root.path)
            _move(root.path, place, roots)
    return left


def _has_moved(root: Root, place: Path, known: Mapping[str, FileState], roots: Mapping[str, Root]) -> bool:
    return not os.path.lexists(root.path) and _holds_files_of(root, place, known, roots)


def _holds_files_of(
    root: Root, place: Path, known: Mapping[str, FileState], roots: Mapping[str, Root]
) -> bool:
    """Whether most files that the index has of `root` lie at the same relative paths in `place`, by their content."""
    owner = owners(roots.values())
    held = sorted(path for path in known if owner.of(path) is root)
    sample = held[:: max(1, len(held) // SAMPLE)]
    same = sum(sha256_of(f"{place}{path[len(root.path) :]}") == known[path].sha256 for path in sample)
    return 2 * same > len(sample)


def _move(old: str, new: str, roots: dict[str, Root]) -> None:
    """Give the root at `old` the path `new`, and those in it theirs."""
    for root in list(roots.values()):
        if root.path == old or root.path.startswith(f"{old}/"):
            del roots[root.path]
            place = new + root.path[len(old) :]
            roots[place] = structs.replace(root, path=place)
