"""What git is told to ignore: .gitignore files, a repository's info/exclude, and the person's own excludes file."""

import os
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from unbraid.index.files.glob import Glob

NAME = ".gitignore"
_MARK = b"\xef\xbb\xbf"  # UTF-8's byte-order mark, as some editors leave it


class IgnoreFile:
    """The lines of one file as git reads them, relative to a folder; `name` is what a person knows the file by."""

    def __init__(self, content: bytes, folder: str, name: str) -> None:
        """`folder` is absolute, with forward slashes."""
        self.name = name
        self._prefix = f"{folder.rstrip('/')}/"
        lines = [_glob(line) for line in content.removeprefix(_MARK).split(b"\n")]
        self._lines = [line for line in reversed(lines) if line is not None]

    def verdict(self, path: str, is_folder: bool) -> tuple[bool, str] | None:
        """Whether the absolute `path` is ignored, and by which pattern; None when no line matches. The last line wins."""
        name = _bytewise(path[len(self._prefix) :])
        for glob, ignored in self._lines:
            if glob.matches(name, is_folder):
                return ignored, glob.text
        return None


def read_ignore_file(file: Path, folder: Path) -> IgnoreFile:
    """The lines of `file`, relative to `folder`. Raises OSError."""
    return IgnoreFile(file.read_bytes(), folder.as_posix(), file.name)


def verdict(files: Sequence[IgnoreFile], path: str, is_folder: bool) -> tuple[bool, str] | None:
    """Whether `path` is ignored, and by which file and pattern; None when no line matches. The last file wins."""
    for file in reversed(files):
        found = file.verdict(path, is_folder)
        if found is not None:
            return found[0], f"{file.name}: {found[1]}"
    return None


def is_repository(folder: Path) -> bool:
    """Whether `folder` is the top of a git repository."""
    return os.path.exists(folder / ".git")


def repository_files(top: Path) -> list[IgnoreFile]:
    """What counts in the whole repository at `top`, least first: the person's own excludes, then info/exclude."""
    found = []
    for file in (_own_excludes(top), _git_folder(top) / "info" / "exclude"):
        try:
            found.append(read_ignore_file(file, top))
        except OSError:
            continue
    return found


def _glob(line: bytes) -> tuple[Glob, bool] | None:
    """The pattern of a line and whether it ignores; None for a line without one."""
    text = _trimmed(line.removesuffix(b"\r").decode("latin-1"))
    if not text or text.startswith("#"):
        return None
    ignored = not text.startswith("!")
    text = text.removeprefix("!")
    return (Glob(text), ignored) if text.strip("/") else None


def _trimmed(line: str) -> str:
    """A line without the spaces at its end, unless a backslash holds one."""
    kept = line.rstrip(" ")
    backslashes = len(kept) - len(kept.rstrip("\\"))
    return kept + " " if backslashes % 2 and len(kept) < len(line) else kept


def _bytewise(name: str) -> str:
    """A name as git sees it, a character for each byte: its "?" matches half an "é"."""
    return name if name.isascii() else os.fsencode(name).decode("latin-1")


def _git_folder(top: Path) -> Path:
    """Where the repository keeps info/exclude; .git is a file in work trees and submodules."""
    folder = top / ".git"
    try:
        if folder.is_file():
            folder = top / folder.read_text(encoding="utf-8").strip().removeprefix("gitdir: ")
        common = folder / "commondir"
        return folder / common.read_text(encoding="utf-8").strip() if common.is_file() else folder
    except (OSError, ValueError):
        return folder


@cache
def _own_excludes(top: Path) -> Path:
    """The file that git's setting core.excludesFile names, or its default place."""
    command = ["git", "-C", str(top), "config", "--type=path", "--get", "core.excludesFile"]
    try:
        answer = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            timeout=10,
            check=False,
        )
        named = os.fsdecode(answer.stdout.rstrip(b"\n"))
    except (OSError, subprocess.SubprocessError):  # git is not installed
        named = ""
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return top / named if named else Path(home) / "git" / "ignore"
