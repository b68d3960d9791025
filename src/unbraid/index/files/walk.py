"""Which files of the given paths are indexed, and why the others are not.

Rules, first match wins: version control, virtual environments, caches and indexes are never entered; then what the rules
of a root pass over (rules.py); then what is not a regular file; then size; then content: binary, generated, minified. A
root is taken even when it is hidden, ignored or generated. Symbolic links to files are read, links to folders are not
followed.
"""

import errno
import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from unbraid.errors import DataError
from unbraid.index.files.decode import is_binary
from unbraid.index.files.generated import generated_by_rule
from unbraid.index.files.read_document import DOCUMENT_SUFFIXES, UNREAD
from unbraid.index.files.read_document import MAX_BYTES as MAX_DOCUMENT_BYTES
from unbraid.index.files.rules import Choice, Rules
from unbraid.items import Modality, modality_of

MAX_TEXT_BYTES = 4 * 1024**2
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz")
# `.gz`, `.bz2` and `.xz` may also hold one file that is no archive.
ARCHIVE_SUFFIXES = frozenset(
    {".zip", ".gz", ".bz2", ".xz", *(suffix for suffix in TAR_SUFFIXES if suffix.count(".") == 1)}
)
MAX_BYTES = {
    **dict.fromkeys(DOCUMENT_SUFFIXES | ARCHIVE_SUFFIXES, MAX_DOCUMENT_BYTES),
    ".pdf": 50 * 1024**2,
    ".ipynb": 32 * 1024**2,  # a notebook holds pictures that are not read
}
MAX_IMAGE_BYTES = 50 * 1024**2
SNIFF_BYTES = 8192  # git looks at the first 8,000 bytes to call a file binary
NEVER_ENTERED = frozenset({".git", ".hg", ".svn", "node_modules", "__pycache__"})
NEVER_ENTERED_WITH = ("pyvenv.cfg", "unbraid.json")  # a virtual environment, an index

EVERY_FILE = Choice()
_MOUNT_POINT = 0xA0000003  # stat.IO_REPARSE_TAG_MOUNT_POINT, a name that only Windows has


@dataclass(frozen=True, slots=True)
class File:
    """A file worth indexing; `mtime_ns` is its modification time in nanoseconds."""

    name: str  # its absolute path, with forward slashes
    suffix: str  # in lower case, with its dot
    modality: Modality
    size: int
    mtime_ns: int

    @property
    def path(self) -> Path:
        """The same as a Path, which takes ten times as long to make as the rest of a File."""
        return Path(self.name)


def suffix_of(path: str) -> str:
    """The suffix of a path in lower case, with its dot; empty where there is none."""
    return os.path.splitext(path)[1].lower()


@dataclass(frozen=True)
class Skipped:
    """A file or folder that was left out, and why."""

    path: Path
    reason: str
    rule: str = ""  # the file and the pattern that say so, where the reason is a pattern

    def __str__(self) -> str:
        """The path as valid Unicode, the reason and the rule."""
        return f"{printable(self.path)}: {self.reason}{f' by {self.rule}' if self.rule else ''}"


def printable(path: str | Path) -> str:
    """`path` as valid Unicode: bytes of the name that are not UTF-8 become \\x escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def resolve_roots(paths: Iterable[str | Path]) -> list[Path]:
    """The given paths, absolute, links and ~ resolved, each once."""
    return list(dict.fromkeys(Path(os.path.realpath(os.path.expanduser(given))) for given in paths))


def check_exists(path: Path) -> None:
    """Raise DataError where there is nothing at `path`."""
    if not os.path.lexists(path):
        raise DataError(f"no file or folder at {printable(path)}: check the path")


Skip: TypeAlias = Callable[[Skipped], None]  # is told each file and folder that is left out
Known: TypeAlias = Mapping[str, tuple[int, int]]  # size and mtime_ns by path


class Walk:
    """The files of one root, which is a file or a folder, absolute and without links."""

    def __init__(
        self,
        root: Path,
        skip: Skip,
        choice: Choice = EVERY_FILE,
        *,
        apart: Collection[str] = (),
        known: Known = MappingProxyType({}),
    ) -> None:
        """`apart` are roots of their own, which are not entered. `known` files of the same size and time are not opened."""
        self.root, self.choice = root, choice
        self._skip, self._apart, self._known = skip, apart, known
        self._rules: dict[Path, Rules | None] = {}  # by folder; None where it is passed over

    def files(self, place: Path | None = None) -> Iterator[File]:
        """Files below `place`, by default the root itself, in a fixed order: of a folder, its files before its folders.

        A `place` in the root that the rules pass over has none. Nothing but the first 8 KB of a text or code file is read.
        """
        place = place or self.root
        if place == self.root:
            if place.is_dir():
                yield from self._folder(place, self._within(Rules.around(place, self.choice), place))
            else:
                yield from self._check(place.as_posix(), named=True)
        elif (rules := self.rules_above(place)) is not None:
            is_folder = place.is_dir() and not place.is_symlink()
            if not self._passed_over(rules, place.as_posix(), place.name, is_folder):
                if is_folder:
                    yield from self._folder(place, self._within(rules, place))
                else:
                    yield from self._check(place.as_posix())

    def reaches(self, place: Path) -> bool:
        """Whether the file or folder `place` in the root is one that `files` yields or enters."""
        if not place.is_dir():
            return any(True for _ in self.files(place))
        rules = self.rules_above(place)
        return rules is not None and not self._passed_over(rules, place.as_posix(), place.name, True)

    def rules_above(self, place: Path) -> Rules | None:
        """The rules in the folder of `place`, which lies in the root; None where they pass over a folder on the way."""
        folder = self.root
        rules = self._rules.get(folder)
        if rules is None:
            rules = self._rules[folder] = self._within(Rules.around(folder, self.choice), folder)
        for name in place.relative_to(self.root).parts[:-1]:
            folder = folder / name
            if folder not in self._rules:
                over = (
                    folder.is_symlink()
                    or not folder.is_dir()
                    or self._passed_over(rules, folder.as_posix(), name, True)
                )
                self._rules[folder] = None if over else self._within(rules, folder)
            rules = self._rules[folder]
            if rules is None:
                return None
        return rules

    def _within(self, rules: Rules, folder: Path) -> Rules:
        return rules.within(folder, lambda file: self._skip(Skipped(file, "unreadable")))

    def _folder(self, top: Path, rules: Rules) -> Iterator[File]:
        """Files of a folder by name, then its folders by name; a stack, since a path can be 2,000 folders deep."""
        stack = [(top, rules)]
        while stack:
            folder, rules = stack.pop()
            try:
                with os.scandir(folder) as scan:
                    entries = sorted(scan, key=lambda entry: entry.name)
            except OSError:
                self._skip(Skipped(folder, "unreadable"))
                continue
            folders: list[tuple[Path, Rules]] = []
            for entry in entries:
                path = Path(entry.path).as_posix() if os.sep != "/" else entry.path
                is_folder = entry.is_dir(follow_symlinks=False) and not _is_junction(entry)
                if self._passed_over(rules, path, entry.name, is_folder):
                    continue
                if is_folder:
                    below = Path(path)
                    folders.append((below, self._within(rules, below)))
                else:
                    yield from self._check(path)
            stack += reversed(folders)

    def _passed_over(self, rules: Rules, path: str, name: str, is_folder: bool) -> bool:
        """Whether a file or folder is left out by its name or by what it is; then it is told so."""
        if path in self._apart:
            return True
        found = rules.refusal(path, name, is_folder)
        if is_folder and _never_entered(path, name):
            found = "passed over", ""  # version control, environments, packages, indexes
        if found is not None:
            self._skip(Skipped(Path(path), *found))
        return found is not None

    def _check(self, path: str, *, named: bool = False) -> Iterator[File]:
        """`path` as a File, or nothing where it is left out; `named` by the user, it may be generated."""
        try:
            about = os.stat(path)
            suffix = suffix_of(path)
            modality = modality_of(suffix)
            held = self._known.get(path) == (about.st_size, about.st_mtime_ns)
            reason = _refusal(path, suffix, about, modality, self.choice.max_size, held=held, named=named)
        except FileNotFoundError:
            reason = "broken link"
        except OSError as error:
            # A link that leads to itself, or to another that leads back.
            reason = "broken link" if error.errno == errno.ELOOP else "unreadable"
        if reason:
            self._skip(Skipped(Path(path), reason))
        else:
            yield File(path, suffix, modality, about.st_size, about.st_mtime_ns)


def _is_junction(entry: os.DirEntry[str]) -> bool:
    """Whether it is what Windows has for a linked folder beside symbolic links; such links can form a loop."""
    return os.name == "nt" and getattr(entry.stat(follow_symlinks=False), "st_reparse_tag", 0) == _MOUNT_POINT


def _never_entered(folder: str, name: str) -> bool:
    return name in NEVER_ENTERED or any(os.path.exists(f"{folder}/{mark}") for mark in NEVER_ENTERED_WITH)


def _refusal(
    path: str,
    suffix: str,
    about: os.stat_result,
    modality: Modality,
    max_size: int | None,
    *,
    held: bool,
    named: bool,
) -> str | None:
    """Why this file is not indexed, cheapest question first: a 2 GB file or a socket is never opened.

    Nor is one that the index holds as it is.
    """
    if stat.S_ISDIR(about.st_mode):
        return "linked folder"
    if not stat.S_ISREG(about.st_mode):
        return "not a regular file"
    if about.st_size == 0:
        return "empty"
    usual = MAX_IMAGE_BYTES if modality == "image" else MAX_BYTES.get(suffix, MAX_TEXT_BYTES)
    if about.st_size > (usual if max_size is None else max_size):
        return "too large"
    if held:
        return None
    if printable(path) != path:
        return "name is not UTF-8"
    with open(path, "rb") as stream:
        head = stream.read(SNIFF_BYTES)
    if (
        modality == "image" or suffix == ".pdf" or suffix in DOCUMENT_SUFFIXES | ARCHIVE_SUFFIXES
    ):  # binary by nature
        return None
    if is_binary(head, final=len(head) < SNIFF_BYTES):
        return UNREAD.get(suffix, "binary")
    return None if named else generated_by_rule(Path(path), modality, head)
