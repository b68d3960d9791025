"""Patterns of names and paths as git writes them: *, ?, [a-z], **/ and folder/.

pathspec, a library for this, reads some of them otherwise than git does: there `!folder` takes back what another line
excludes inside the folder (tests/index/test_gitignore.py compares with `git ls-files` on random trees).
"""

import re
from dataclasses import dataclass
from functools import cached_property

_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": " \\t",
    "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": "!-/:-@\\[-`{-~",
    "space": "\\s",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}
_NEVER = "(?!)"


@dataclass(frozen=True)
class Glob:
    """One pattern; a slash at its end asks for a folder, one anywhere else for the whole path and not a name."""

    text: str

    @property
    def folder_only(self) -> bool:
        """Whether files never match."""
        return self.text.endswith("/")

    @property
    def whole_path(self) -> bool:
        """Whether it is compared with the path, otherwise with the last name in it."""
        return "/" in self.text.removesuffix("/")

    @cached_property
    def _expression(self) -> re.Pattern[str]:
        return re.compile(_translate(self.text.removesuffix("/").removeprefix("/")), re.DOTALL)

    def matches(self, path: str, is_folder: bool) -> bool:
        """Whether it matches `path` itself, relative and with forward slashes; what lies in it is not asked about."""
        if self.folder_only and not is_folder:
            return False
        return bool(self._expression.fullmatch(path if self.whole_path else path.rpartition("/")[2]))

    def matches_within(self, path: str) -> bool:
        """Whether it matches the file `path` or a folder that the file lies in."""
        names = path.split("/")
        return any(self.matches("/".join(names[:end]), end < len(names)) for end in range(1, len(names) + 1))


def escaped(path: str) -> str:
    """The pattern that matches `path` alone."""
    return re.sub(r"([*?\[\\])", r"\\\1", path)


_STAR, _FOLDERS, _REST = "*", "**/", "**"  # within a name; any number of folders; all that is left


def _translate(pattern: str) -> str:
    """The regular expression of a pattern; one that matches nothing for a pattern that is not well formed.

    What stands between two stars is looked for once, at the first place where it fits, as no later place can be
    better. So the time grows with the length of the pattern times that of the path, however many stars there are.
    """
    tokens = _tokens(pattern)
    if tokens is None:
        return _NEVER
    groups: list[list[str]] = [[]]  # between the **/
    for token in tokens:
        if token == _FOLDERS:
            groups.append([])
        else:
            groups[-1].append(token)
    first, *others = map(_within_names, groups)
    if not others:
        return first
    middle = "".join(f"(?>(?:[^/]*/)*?{group})" for group in others[:-1] if group)
    return f"{first}{middle}(?:.*/)?{others[-1]}"


def _within_names(tokens: list[str]) -> str:
    """The expression of tokens without _FOLDERS."""
    runs: list[str] = [""]
    for token in tokens:
        if token == _STAR:
            runs.append("")
        else:
            runs[-1] += ".*" if token == _REST else token
    if len(runs) == 1:
        return runs[0]
    middle = "".join(f"(?>[^/]*?{run})" for run in runs[1:-1] if run)
    return f"{runs[0]}{middle}[^/]*{runs[-1]}"


def _tokens(pattern: str) -> list[str] | None:
    """_STAR, _FOLDERS, _REST and expressions of one character; None where the pattern is not well formed."""
    parts: list[str] = []
    place = 0
    while place < len(pattern):
        character = pattern[place]
        if character == "*":
            end = place + 1
            while pattern[end : end + 1] == "*":
                end += 1
            at_start = place == 0 or pattern[place - 1] == "/"
            if end - place < 2 or not at_start or pattern[end : end + 1] not in ("", "/"):
                parts.append(_STAR)
            elif end == len(pattern):
                parts.append(_REST)
            else:
                parts.append(_FOLDERS)
                end += 1
            place = end
        elif character == "?":
            parts.append("[^/]")
            place += 1
        elif character == "[":
            found = _bracket(pattern, place + 1)
            if found is None:
                return None
            parts.append(found[0])
            place = found[1]
        else:
            place += character == "\\"
            if place == len(pattern):
                return None
            parts.append(re.escape(pattern[place]))
            place += 1
    return parts


def _bracket(pattern: str, place: int) -> tuple[str, int] | None:
    """The expression of a bracket whose inside begins at `place`, and where it ends; None where it never does."""
    negated = pattern[place : place + 1] in ("!", "^")
    place += negated
    members: list[str] = []
    first = True
    while first or pattern[place : place + 1] != "]":
        first = False
        if place >= len(pattern):
            return None
        if pattern.startswith("[:", place):
            end = pattern.find("]", place + 2)
            name = pattern[place + 2 : end - 1]
            if end > place + 2 and pattern[end - 1] == ":":
                if name not in _CLASSES:
                    return None
                members.append(_CLASSES[name])
                place = end + 1
                continue
            if end < 0:
                return None
        low, place = _member(pattern, place)
        high = low
        if pattern[place : place + 1] == "-" and pattern[place + 1 : place + 2] not in ("", "]"):
            high, place = _member(pattern, place + 1)
        if not low or not high:
            return None
        if low <= high:
            members.append(f"{re.escape(low)}-{re.escape(high)}")
    inside = "".join(members)
    if negated:
        return f"[^/{inside}]", place + 1
    return (f"(?!/)[{inside}]" if inside else _NEVER), place + 1


def _member(pattern: str, place: int) -> tuple[str, int]:
    """One character of a bracket, a backslash before it taken away; empty at the pattern's end."""
    place += pattern[place] == "\\"
    return pattern[place : place + 1], place + 1
