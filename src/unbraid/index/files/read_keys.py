"""JSON, YAML, TOML and INI by key: a section for each key whose value takes several lines, within the keys around it.

Nothing is parsed to values. Lines stay as they stand in the file, so text that is broken or has comments is read too.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from unbraid.index.files.chunk import Lines, Section, from_headings
from unbraid.index.files.definitions import Definition, from_definitions
from unbraid.index.files.read_table import MOST_APART

_JSON_SUFFIXES = frozenset({".json", ".jsonc"})
_TABLE_SUFFIXES = frozenset({".toml", ".ini", ".cfg"})
KEY_SUFFIXES = _JSON_SUFFIXES | _TABLE_SUFFIXES | {".yaml", ".yml"}

_DEEPEST = 16  # keys within keys that are told apart
_MAX_NAME = 80
# A text that is never closed ends with its line: a match that never fails never looks again.
_JSON = re.compile(r'"(?:[^"\\\n]|\\[^\n])*"?|//[^\n]*|[{}\[\]:\n]')
# A key and what stands behind it.
_YAML_KEY = re.compile(r"""("[^"\n]*"|'[^'\n]*'|[^\s#'"\[\]{}&*!|>%@,:][^:#]*):(?=\s|$)(.*)""")
_YAML_BLOCK = re.compile(r"(?:.*\s)?[|>][-+\d]{0,2}[ \t]*(?:#.*)?")  # text follows in the lines below
_TABLE = re.compile(r"[ \t]*\[{1,2}([^\[\]#\n]+)\]{1,2}[ \t]*(?:[#;].*)?")


@dataclass
class _Value:
    """Lines [first, end) from 0 of a value, the name of its key, empty in a list, and what is within it."""

    first: int
    name: str
    end: int = 0
    level: int = -1  # how far a value of YAML is indented
    within: list["_Value"] = field(default_factory=list)

    def close(self, value: "_Value", end: int) -> None:
        """Take `value`, which ends before line `end`, where it has several lines."""
        value.end = end
        if end - value.first > 1:
            self.within.append(value)


def read_keys(source: Lines, suffix: str) -> list[Section]:
    """The sections of a file with a suffix of KEY_SUFFIXES. Never raises."""
    if suffix in _TABLE_SUFFIXES:
        return from_headings(_tables(source.lines), len(source.lines))
    values = _json_values(source.lines) if suffix in _JSON_SUFFIXES else _yaml_values(source.lines)
    return from_definitions(source, _definitions(values, 0, source))


def _definitions(values: Iterable[_Value], first: int, source: Lines) -> Iterator[Definition]:
    """The values in one that begins at line `first`, outer ones first; those of a very long list as many as fit together."""
    values = list(values)
    for value in values if len(values) <= MOST_APART else _in_groups(values, first, source):
        yield Definition(value.first, value.end, value.name)
        yield from _definitions(value.within, value.first, source)


def _in_groups(values: Iterable[_Value], first: int, source: Lines) -> Iterator[_Value]:
    """The values, those without a name together as long as they fit one chunk, the first ones with what holds them."""
    group: _Value | None = None
    for value in values:
        if value.name:
            if group:
                yield group
            group = None
            yield value
        elif source.fit(group.first if group else first, value.end):
            group = _Value(group.first if group else first, "", value.end)
        else:
            if group:
                yield group
            group = value
        first = value.end
    if group:
        yield group


def _json_values(lines: list[str]) -> list[_Value]:
    """The objects and lists of a JSON text."""
    open_, deeper, line = [_Value(0, "")], 0, 0
    text, key = ("", 0), ("", -1)  # the last string and the last key, each with its line
    for found in _JSON.finditer("\n".join(lines)):
        token = found[0]
        if token == "\n":
            line += 1
        elif token == ":":
            key = text
        elif token in "{[":
            if len(open_) > _DEEPEST:
                deeper += 1
                continue
            name, first = key if key[0] else ("", line)
            open_.append(_Value(first, name))
            key = ("", -1)
        elif token in "]}":
            if deeper:
                deeper -= 1
            elif len(open_) > 1:
                value = open_.pop()
                open_[-1].close(value, line + 1)
            key = ("", -1)
        elif token[0] == '"':
            text, key = (token[1:-1][:_MAX_NAME].strip(), line), ("", -1)
    while len(open_) > 1:  # of a text that is cut off
        value = open_.pop()
        open_[-1].close(value, len(lines))
    top = open_[0].within
    # What holds the whole file says nothing of its parts.
    return top[0].within if len(top) == 1 and not top[0].name else top


def _yaml_values(lines: list[str]) -> list[_Value]:
    """The values of a YAML text by their indentation."""
    open_ = [_Value(0, "")]
    end = 0  # behind the last line with content
    block: int | None = None  # level below which lines are text

    def close(level: int) -> None:
        while len(open_) > 1 and open_[-1].level >= level:
            value = open_.pop()
            open_[-1].close(value, end)

    def begin(value: _Value) -> None:
        close(value.level)
        if len(open_) <= _DEEPEST:
            open_.append(value)

    for number, line in enumerate(lines):
        content = line.lstrip(" ")
        if not content.strip():
            continue
        indent = len(line) - len(content)
        if block is not None and 2 * indent > block:
            end = number + 1
            continue
        block = None
        if content.startswith("#"):
            continue
        if line.startswith(("---", "...")):
            close(0)
        level = 2 * indent
        # "- " may stand as far left as the key of its list: it counts half a step more.
        for _ in range(_DEEPEST):
            if content != "-" and not content.startswith("- "):
                break
            level = 2 * indent + 1
            begin(_Value(number, "", level=level))
            rest = content[1:].lstrip(" ")
            indent, content = indent + len(content) - len(rest), rest
        rest = content
        if key := _YAML_KEY.match(content):
            level, rest = 2 * indent, key[2]
            begin(_Value(number, key[1].strip(" \"'")[:_MAX_NAME], level=level))
        if _YAML_BLOCK.fullmatch(rest):
            block = level
        end = number + 1
    close(0)
    return open_[0].within


def _tables(lines: list[str]) -> Iterator[tuple[int, int, str]]:
    """(line from 0, level, name) of each table of TOML, each section of an INI file."""
    quote = ""  # that ends a text of several lines
    for number, line in enumerate(lines):
        if not quote and (found := _TABLE.fullmatch(line)):
            yield number, 1, found[1].strip()[:_MAX_NAME]
            continue
        for mark in ('"""', "'''"):
            if quote in ("", mark) and line.count(mark) % 2:
                quote = "" if quote else mark
                break
