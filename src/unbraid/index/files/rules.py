"""What of a root is passed over: by the choice that is stored with it, by .unbraidignore, as hidden, by git.

The first that has an opinion decides, in this order. So a line "!drafts/" of an .unbraidignore takes in a folder that git
ignores, and "!.github/" one that is hidden.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from unbraid.index.files.gitignore import (
    NAME,
    IgnoreFile,
    is_repository,
    read_ignore_file,
    repository_files,
    verdict,
)
from unbraid.index.files.glob import Glob

OWN_NAME = ".unbraidignore"


@dataclass(frozen=True)
class Choice:
    """Which files of a root are indexed. Patterns are lines of a .gitignore in the root."""

    include: tuple[
        str, ...
    ] = ()  # where there are any, only files that match one, or lie in a folder that does
    exclude: tuple[str, ...] = ()
    hidden: bool = False  # hidden files and folders too
    max_size: int | None = None  # bytes of any file, in place of the limits of walk.py

    @cached_property
    def included(self) -> list[Glob]:
        """The patterns of `include`."""
        return [Glob(pattern) for pattern in self.include]


@dataclass(frozen=True)
class Rules:
    """What holds in one folder of a root."""

    choice: Choice
    root: str  # absolute, with forward slashes
    given: IgnoreFile  # `choice.exclude`
    own: tuple[IgnoreFile, ...] = ()
    git: tuple[IgnoreFile, ...] = ()

    @cached_property
    def _first(self) -> tuple[IgnoreFile, ...]:
        """What goes before git; the last of them wins."""
        return (*self.own, self.given)

    @staticmethod
    def around(root: Path, choice: Choice) -> "Rules":
        """What holds around the folder `root`: what its repository ignores, unless that ignores `root` itself."""
        place = root.as_posix()
        start = Rules(choice, place, IgnoreFile("\n".join(choice.exclude).encode(), place, "--exclude"))
        above = [root, *root.parents]
        top = next((number for number, folder in enumerate(above) if is_repository(folder)), 0)
        rules = start
        for below, folder in zip(above[:top][::-1], above[1 : top + 1][::-1], strict=True):
            rules = rules.within(folder, lambda file: None)
            for files in (rules.own, rules.git):
                if (found := verdict(files, below.as_posix(), True)) and found[0]:
                    return start
        return rules

    def within(self, folder: Path, unreadable: Callable[[Path], None]) -> "Rules":
        """What holds in `folder`, whose parent's rules these are; `unreadable` is told a file of rules that is so."""
        # What lies around a repository does not count in it.
        git = tuple(repository_files(folder)) if is_repository(folder) else self.git
        git += _read(folder / NAME, unreadable)
        own = self.own + _read(folder / OWN_NAME, unreadable)
        return Rules(self.choice, self.root, self.given, own, git)

    def refusal(self, path: str, name: str, is_folder: bool) -> tuple[str, str] | None:
        """Why the absolute `path`, whose last part is `name`, is passed over, and by which rule; None if it is not."""
        mine = verdict(self._first, path, is_folder)
        if mine is not None and mine[0]:
            return "excluded", mine[1]
        if mine is None:
            if name.startswith(".") and not self.choice.hidden:
                return "hidden", ""
            if (found := verdict(self.git, path, is_folder)) and found[0]:
                return "ignored", found[1]
        if self.choice.include and not is_folder:
            inside = path[len(self.root) :].lstrip("/")
            if not any(glob.matches_within(inside) for glob in self.choice.included):
                return "not included", ""
        return None


def _read(file: Path, unreadable: Callable[[Path], None]) -> tuple[IgnoreFile, ...]:
    if not file.is_file():
        return ()
    try:
        return (read_ignore_file(file, file.parent),)
    except OSError:
        unreadable(file)
        return ()
