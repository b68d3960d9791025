"""A store of teacher vectors: a folder of shards, all of one teacher and the same routes, and its description.

Resuming and growing are the same: wanted items whose keys are in no shard go into the next shard. Training reads
shards and never loads the teacher.
"""

import json
import re
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from unbraid.distill.labels.label_shard import Labels, read_keys, read_shard, write_shard
from unbraid.errors import DataError
from unbraid.io.atomic import write_atomic

MANIFEST = "labels.json"
FORMAT = 3  # 1, of version 0.1, described its vectors by the teacher's id alone; 2 did not say which route answers a task
FOREIGN = "it comes from another store: take it out"


@dataclass(frozen=True)
class Description:
    """Everything that decides the vectors of a store. Shards with different descriptions are never mixed.

    `about` is the teacher's own (model, revision, dtype, pixel limits, ...); `dim` its native dimension; `tasks` names
    the route that answers each task.
    """

    teacher: str
    about: Mapping[str, Any]
    routes: tuple[str, ...]
    dim: int
    tasks: Mapping[str, str] = field(default_factory=dict)

    def table(self) -> dict[str, Any]:
        """The description as JSON gives it back, with the routes sorted."""
        table: dict[str, Any] = {"format": FORMAT, "teacher": self.teacher, "about": dict(self.about)}
        table |= {"routes": sorted(self.routes), "dim": self.dim, "tasks": dict(self.tasks)}
        plain: dict[str, Any] = json.loads(json.dumps(table))
        return plain


@dataclass
class LabelStore:
    """A store open for writing. `keys` are those of its items, `wanted` is how many items it will have."""

    folder: Path
    description: Description
    keys: set[str] = field(default_factory=set)
    wanted: int = 0
    growing: tuple[int, set[str]] | None = None  # number and keys of a shard that is not full

    def want(self, keys: set[str]) -> None:
        """Write down that the items of `keys` are wanted, beside those in the store."""
        self.wanted = len(self.keys | keys)
        table = {**self.description.table(), "items": self.wanted}
        try:
            write_atomic(self.folder / MANIFEST, json.dumps(table, indent=1).encode())
        except OSError as error:
            raise DataError(
                f"{self.folder / MANIFEST}: cannot be written: {error.strerror or error}"
            ) from error

    def append(self, labels: Labels) -> None:
        """Write `labels` as the next shard. Raises ValueError for keys that are in the store, or twice in `labels`."""
        self.growing = None
        self.grow(labels)
        self.growing = None

    def grow(self, labels: Labels) -> None:
        """Write `labels` as the new contents of the growing shard, or as the next shard. Raises as `append`.

        The file is replaced as a whole: a crash leaves the old rows or the new ones.
        """
        number, held = self.growing or (max(map(_number, _shards(self.folder)), default=-1) + 1, set())
        fresh = set(labels.keys)
        if len(fresh) < len(labels.keys) or fresh & (self.keys - held) or held - fresh:
            raise ValueError("an item is labelled twice, or lost from a shard that grows")
        write_shard(shard_path(self.folder, number), labels, self.description.table())
        self.keys |= fresh
        self.growing = number, fresh

    def reopen(self, keys: AbstractSet[str]) -> Labels | None:
        """The last shard if all of its items are among `keys`; it then grows. Otherwise None."""
        self.growing = None
        if found := _shards(self.folder):
            labels = _checked(found[-1], self.description.table())
            if set(labels.keys) <= keys:
                self.growing = _number(found[-1]), set(labels.keys)
                return labels
        return None


@contextmanager
def open_labels(folder: Path, description: Description) -> Iterator[LabelStore]:
    """The store in `folder`, made when there is none, for this process alone.

    Raises DataError when the folder holds labels of another description, a shard is damaged or from another store,
    two shards hold the same item, or another process labels into it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder}: cannot be made: {error.strerror or error}") from error
    with _locked(folder):
        if (folder / MANIFEST).exists():
            check_same_store(folder, description)
        store = LabelStore(folder, description)
        for keys in _keys_by_shard(folder, description.table()):
            store.keys |= keys
        for left in folder.glob("labels*.new"):  # of a process that was killed while writing
            left.unlink()
        yield store


def shard_path(folder: Path, number: int) -> Path:
    """Path of shard `number`."""
    return folder / f"labels-{number:05d}.parquet"


def read_description(folder: Path) -> dict[str, Any]:
    """What `folder` holds: format, teacher, about, routes, dim, tasks and items, the number that is wanted.

    Raises DataError when the folder is no store of this version.
    """
    manifest = folder / MANIFEST
    try:
        table = json.loads(manifest.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{folder}: no labels here ({MANIFEST}): run `unbraid train label` first") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{manifest}: cannot be read: {error}: choose another folder, label again") from error
    if not isinstance(table, dict) or table.get("format") != FORMAT:
        found = table.get("format", 1) if isinstance(table, dict) else table
        raise DataError(
            f"{manifest}: format {found!r}, this version reads {FORMAT}: choose another folder, label again"
        )
    expected = {"format": int, "teacher": str, "about": dict, "routes": list, "dim": int, "tasks": dict}
    expected["items"] = int
    if wrong := [name for name, kind in expected.items() if type(table.get(name)) is not kind]:
        raise DataError(f"{manifest}: {', '.join(wrong)} missing or of another type: label again elsewhere")
    return table


def check_same_store(folder: Path, description: Description) -> None:
    """Raise DataError that names every difference when the store in `folder` has not this `description`."""
    table = read_description(folder)
    del table["items"]
    _check_same(table, description.table(), folder / MANIFEST, "choose another folder for these labels")


def read_shards(folder: Path) -> Iterator[Labels]:
    """Every shard of the store in `folder`, in order.

    Raises DataError when there is none, and for a shard that is damaged or comes from another store.
    """
    table = read_description(folder)
    del table["items"]
    if not _shards(folder):
        raise DataError(f"{folder}: no label shards here: run `unbraid train label` first")
    return (_checked(path, table) for path in _shards(folder))


def _shards(folder: Path) -> list[Path]:
    found = [path for path in folder.glob("labels-*.parquet") if re.fullmatch(r"labels-\d{5,}", path.stem)]
    return sorted(found, key=_number)


def _number(path: Path) -> int:
    return int(path.stem.removeprefix("labels-"))


def _checked(path: Path, table: Mapping[str, Any]) -> Labels:
    """The shard at `path` of the store that `table` describes."""
    labels, found = read_shard(path)
    _check_same(found, table, path, FOREIGN)
    return labels


def _keys_by_shard(folder: Path, table: Mapping[str, Any]) -> Iterator[set[str]]:
    """The keys of each shard. Raises DataError when two shards have one in common."""
    shard_of: dict[str, Path] = {}
    for path in _shards(folder):
        listed, found = read_keys(path)
        _check_same(found, table, path, FOREIGN)
        keys = set(listed)
        if twice := keys & shard_of.keys():
            first = shard_of[twice.pop()]
            raise DataError(f"{path}: holds items that {first.name} holds too: take the copy out")
        shard_of |= dict.fromkeys(keys, path)
        yield keys


def _check_same(found: Mapping[str, Any], asked: Mapping[str, Any], place: Path, remedy: str) -> None:
    """Raise DataError when `found` at `place` differs from `asked`; the message names every difference."""
    here, there = _flat(found), _flat(asked)
    apart = [
        f"{name} {here.get(name, 'not stated')} instead of {there.get(name, 'not stated')}"
        for name in dict.fromkeys([*here, *there])
        if here.get(name) != there.get(name)
    ]
    if apart:
        raise DataError(f"{place}: holds labels of {', '.join(apart)}: {remedy}")


def _flat(table: Mapping[str, Any]) -> dict[str, Any]:
    """`table` without nesting: the entries of its `about` stand beside the others, its routes and tasks are text."""
    about = table.get("about")
    inner = about if isinstance(about, dict) else {}
    routes = ", ".join(map(str, table.get("routes") or []))
    tasks = table.get("tasks")
    answers = ", ".join(f"{task} by {route}" for task, route in sorted((tasks or {}).items()))
    flat = {**table, "about": sorted(inner), "routes": routes, "tasks": answers}
    return flat | {f"its {k}": v for k, v in inner.items()}


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other processes from writing into `folder`; the system releases the lock of a killed process."""
    lock = FileLock(folder / "labels.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise DataError(f"{folder}: another process labels into it: wait for it, or stop it") from error
    except OSError as error:
        raise DataError(f"{folder}: cannot be locked: {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.release()
