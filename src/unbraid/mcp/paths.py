"""The files of an index as a client names them: by their path below the folder that holds all of them, or by its end."""

import os
import posixpath
import re
import unicodedata
from collections.abc import Iterable, Sequence

from unbraid.errors import ItemError
from unbraid.index.files.glob import escaped
from unbraid.io.printable import printable

NAMED = 5  # files that an error names
_UNIT = r"(?:.+, )?(?:page|slide|row|line|paragraph|chapter|message)"
_PLACE = re.compile(rf"(.+?)(?::| ({_UNIT}) )(\d{{1,9}})(?:-(\d{{1,9}}))?", re.DOTALL)
_PATTERN = re.compile(r"[*?\[]")


class Paths:
    """The paths of the files of an index, absolute and with forward slashes."""

    def __init__(self, paths: Iterable[str]) -> None:
        """Of an index that holds these."""
        self._paths = dict.fromkeys(paths)
        self._by_end: dict[str, list[str]] = {}
        for path in self._paths:
            self._by_end.setdefault(_name(path), []).append(path)
        parents = {posixpath.dirname(path) for path in self._paths}
        try:
            self.folder = posixpath.commonpath(parents) if parents else ""
        except ValueError:  # two drives
            self.folder = ""

    def __len__(self) -> int:
        """Number of files."""
        return len(self._paths)

    def shown(self, path: str) -> str:
        """A path as a client gets it: below the common folder, on one line."""
        if self.folder and path.startswith(f"{self.folder.rstrip('/')}/"):
            path = path[len(self.folder.rstrip("/")) + 1 :]
        return printable(path)

    def find(self, given: str) -> str:
        """The file that `given` names: its path as shown, its absolute path or the end of either.

        Raises ItemError when the index holds no such file, or several.
        """
        wanted = _plain(given)
        if wanted in self._paths:
            return wanted
        if (below := posixpath.join(self.folder, wanted)) in self._paths:
            return below
        alike = self._by_end.get(_name(wanted), [])
        same, whole = _composed(wanted), os.path.isabs(wanted)
        ends = {path: _composed(printable(path)) for path in alike}
        found = [
            path for path, text in ends.items() if text == same or (not whole and text.endswith(f"/{same}"))
        ]
        if len(found) == 1:
            return found[0]
        if found:
            raise ItemError(f"{len(found)} files are called {given!r}: give one of {self._some(found)}")
        near = f"; it holds {self._some(alike)}" if alike else ": give the path as a hit of search shows it"
        raise ItemError(f"the index holds no file {given!r}{near}")

    def find_place(self, given: str) -> tuple[str, str | None, int | None, int | None]:
        """The file that `given` names; what it counts, and numbers, where it ends as the place of a hit does.

        "a.md:3-9" has the unit "", "b.pdf page 2" has "page".
        """
        place = _PLACE.fullmatch(given)
        try:
            return self.find(given), None, None, None
        except ItemError:
            if place is None:
                raise
        first = int(place[3])
        return self.find(place[1]), place[2] or "", first, int(place[4] or first)

    def as_filter(self, given: Sequence[str]) -> list[str] | None:
        """Files, folders and patterns as `Index.search` takes them: a relative one is of any folder that has it."""
        return [self._one_filter(one) for one in given] or None

    def _one_filter(self, given: str) -> str:
        wanted = _plain(given)
        if not wanted:
            raise ItemError("a path is blank: give a file, a folder or a pattern such as *.md, or no path")
        if wanted in (".", "**", "*"):
            return self.folder or "*"
        if os.path.isabs(wanted) or (_PATTERN.search(wanted) and "/" not in wanted):
            return wanted
        below = posixpath.join(self.folder, wanted)
        if below in self._paths or any(path.startswith(f"{below}/") for path in self._paths):
            return below
        return f"/**/{wanted if _PATTERN.search(wanted) else escaped(wanted)}"

    def _some(self, paths: Sequence[str]) -> str:
        more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
        return ", ".join(self.shown(path) for path in paths[:NAMED]) + more


def _plain(given: str) -> str:
    """A path without "./" at its beginning and a slash at its end, with forward slashes."""
    wanted = os.path.expanduser(given.strip()).replace(os.sep, "/")
    return wanted.removeprefix("./").rstrip("/") or wanted


def _name(path: str) -> str:
    return _composed(printable(posixpath.basename(path)))


def _composed(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)
