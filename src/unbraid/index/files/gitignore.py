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
    """The lines of one file, relative to a folder."""

    def __init__(self, file: Path, folder: Path) -> None:
        """Read `file`. Raises OSError."""
        self.folder = folder
        lines = [_glob(line) for line in file.read_bytes().removeprefix(_MARK).split(b"\n")]
        self._lines = [line for line in reversed(lines) if line is not None]

    def ignores(self, path: Path, is_folder: bool) -> bool | None:
        """True when ignored, False when a "!" line takes it back, None when no line matches. The last line wins."""
        name = _bytewise(path.relative_to(self.folder).as_posix())
        for glob, ignored in self._lines:
            if glob.matches(name, is_folder):
                return ignored
        return None


def is_ignored(files: Sequence[IgnoreFile], path: Path, is_folder: bool) -> bool:
    """Whether `path` is ignored; the last of `files` that has an opinion decides."""
    for file in reversed(files):
        verdict = file.ignores(path, is_folder)
        if verdict is not None:
            return verdict
    return False


def is_repository(folder: Path) -> bool:
    """Whether `folder` is the top of a git repository."""
    return os.path.exists(folder / ".git")


def repository_files(top: Path) -> list[IgnoreFile]:
    """What counts in the whole repository at `top`, least first: the person's own excludes, then info/exclude."""
    found = []
    for file in (_own_excludes(top), _git_folder(top) / "info" / "exclude"):
        try:
            found.append(IgnoreFile(file, top))
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
            folder = top / folder.read_text().strip().removeprefix("gitdir: ")
        common = folder / "commondir"
        return folder / common.read_text().strip() if common.is_file() else folder
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
