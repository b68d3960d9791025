"""Which files of the given paths are indexed, and why the others are not.

Rules, first match wins: version control, virtual environments, caches and indexes are never entered; then hidden names
and what git ignores; then what is not a regular file; then size; then content: binary, generated, minified. A path
named by the user is taken even when it is hidden, ignored or generated. Symbolic links to files are read, links to folders are not followed.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from unbraid.errors import DataError
from unbraid.index.files.decode import is_binary
from unbraid.index.files.generated import generated_by_rule
from unbraid.index.files.gitignore import NAME, IgnoreFile, is_ignored, is_repository, repository_files
from unbraid.index.files.read_document import DOCUMENT_SUFFIXES, UNREAD
from unbraid.index.files.read_document import MAX_BYTES as MAX_DOCUMENT_BYTES
from unbraid.items import Modality, suffix_modality

MAX_TEXT_BYTES = 4 * 1024**2
ARCHIVE_SUFFIXES = frozenset({".zip", ".gz"})
MAX_BYTES = {
    **dict.fromkeys(DOCUMENT_SUFFIXES | ARCHIVE_SUFFIXES, MAX_DOCUMENT_BYTES),
    ".pdf": 50 * 1024**2,
    ".ipynb": 32 * 1024**2,  # a notebook holds pictures that are not read
}
MAX_IMAGE_BYTES = 50 * 1024**2
SNIFF_BYTES = 8192  # git looks at the first 8,000 bytes to call a file binary
NEVER_ENTERED = frozenset({".git", ".hg", ".svn", "node_modules", "__pycache__"})
NEVER_ENTERED_WITH = ("pyvenv.cfg", "unbraid.json")  # a virtual environment, an index


@dataclass(frozen=True)
class File:
    """A file worth indexing; `path` is absolute, `mtime_ns` its modification time in nanoseconds."""

    path: Path
    modality: Modality
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Skipped:
    """A file or folder that was left out, and why."""

    path: Path
    reason: str

    def __str__(self) -> str:
        """The path as valid Unicode, and the reason."""
        return f"{printable(self.path)}: {self.reason}"


def printable(path: str | Path) -> str:
    """`path` as valid Unicode: bytes of the name that are not UTF-8 become \\x escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def resolve_roots(paths: Iterable[str | Path]) -> list[Path]:
    """The given paths, absolute, links and ~ resolved, each once. Raises DataError for one that does not exist."""
    roots: dict[Path, None] = {}
    for given in paths:
        path = Path(os.path.realpath(os.path.expanduser(given)))
        if not os.path.lexists(path):
            raise DataError(f"no file or folder at {given}: check the path")
        roots[path] = None
    return list(roots)


def walk(roots: Iterable[Path], skipped: list[Skipped]) -> Iterator[File]:
    """Files under `roots` in a fixed order, each once; what is left out is added to `skipped`.

    Nothing but the first 8 KB of a text or code file is read.
    """
    seen: set[Path] = set()
    for root in roots:
        found = (
            _walk_folder(root, _outer_rules(root), skipped)
            if root.is_dir()
            else _check(root, skipped, named=True)
        )
        for file in found:
            if file.path not in seen:
                seen.add(file.path)
                yield file


def _read_rules(folder: Path, skipped: list[Skipped] | None = None) -> list[IgnoreFile]:
    """The rules in `folder`, if it has a readable .gitignore."""
    if not os.path.isfile(folder / NAME):
        return []
    try:
        return [IgnoreFile(folder / NAME, folder)]
    except OSError:
        if skipped is not None:
            skipped.append(Skipped(folder / NAME, "unreadable"))
        return []


def _outer_rules(root: Path) -> list[IgnoreFile]:
    """What is ignored above `root` in its repository, unless that ignores `root`, which was asked for by name."""
    above = [root, *root.parents]
    top = next((place for place, folder in enumerate(above) if is_repository(folder)), 0)
    if top == 0:  # `root` itself is one, or there is none
        return []
    rules = repository_files(above[top])
    for below, folder in zip(above[:top][::-1], above[1 : top + 1][::-1], strict=True):
        rules += _read_rules(folder)
        if is_ignored(rules, below, is_folder=True):
            return []
    return rules


def _walk_folder(root: Path, rules: list[IgnoreFile], skipped: list[Skipped]) -> Iterator[File]:
    """Files of a folder by name, then its folders by name; a stack, since a path can be 2,000 folders deep."""
    stack = [(root, rules)]
    while stack:
        folder, rules = stack.pop()
        try:
            with os.scandir(folder) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError:
            skipped.append(Skipped(folder, "unreadable"))
            continue
        if is_repository(folder):  # what lies around a repository does not count in it
            rules = repository_files(folder)
        rules = rules + _read_rules(folder, skipped)
        folders: list[tuple[Path, list[IgnoreFile]]] = []
        for entry in entries:
            path = Path(entry.path)
            is_folder = entry.is_dir(follow_symlinks=False)
            if is_folder and _never_entered(path):
                skipped.append(
                    Skipped(path, "passed over")
                )  # version control, environments, packages, indexes
                continue
            if entry.name.startswith("."):
                skipped.append(Skipped(path, "hidden"))
            elif is_ignored(rules, path, is_folder):
                skipped.append(Skipped(path, "ignored"))
            elif is_folder:
                folders.append((path, rules))
            else:
                yield from _check(path, skipped)
        stack += reversed(folders)


def _never_entered(folder: Path) -> bool:
    return folder.name in NEVER_ENTERED or any(os.path.exists(folder / name) for name in NEVER_ENTERED_WITH)


def _check(path: Path, skipped: list[Skipped], *, named: bool = False) -> Iterator[File]:
    """`path` as a File, or nothing and an entry in `skipped`; `named` by the user, it may be generated."""
    try:
        about = os.stat(path)
        modality = suffix_modality(path)
        reason = _refusal(path, about, modality, named)
    except FileNotFoundError:
        reason = "broken link"
    except OSError:  # also a link that points to itself
        reason = "unreadable"
    if reason:
        skipped.append(Skipped(path, reason))
    else:
        yield File(path, modality, about.st_size, about.st_mtime_ns)


def _refusal(path: Path, about: os.stat_result, modality: Modality, named: bool) -> str | None:
    """Why this file is not indexed, cheapest question first: a 2 GB file or a socket is never opened."""
    if stat.S_ISDIR(about.st_mode):
        return "linked folder"
    if not stat.S_ISREG(about.st_mode):
        return "not a regular file"
    if about.st_size == 0:
        return "empty"
    suffix = path.suffix.lower()
    if about.st_size > (MAX_IMAGE_BYTES if modality == "image" else MAX_BYTES.get(suffix, MAX_TEXT_BYTES)):
        return "too large"
    if printable(path) != str(path):
        return "name is not UTF-8"
    with open(path, "rb") as stream:
        head = stream.read(SNIFF_BYTES)
    if (
        modality == "image" or suffix == ".pdf" or suffix in DOCUMENT_SUFFIXES | ARCHIVE_SUFFIXES
    ):  # binary by nature
        return None
    if is_binary(head, final=len(head) < SNIFF_BYTES):
        return UNREAD.get(suffix, "binary")
    return None if named else generated_by_rule(path, modality, head)
