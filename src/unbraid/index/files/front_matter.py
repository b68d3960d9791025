"""Front matter: the fields between two lines of --- (YAML) or +++ (TOML) before a Markdown text."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

Value: TypeAlias = str | int | list[str]

_CLOSING = {"---": ("---", "..."), "+++": ("+++",)}
_MOST_LINES, _MOST_CHARACTERS = 200, 16_384  # more is no front matter
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")
_MOST_FIELDS, _MOST_VALUES, _LONGEST = 50, 50, 500


def front_matter_end(lines: list[str]) -> int:
    """The number of lines that the front matter takes, 0 without any."""
    closing = _CLOSING.get(lines[0].rstrip()) if lines else None
    if closing is None:
        return 0
    size = 0
    for number, line in enumerate(lines[1 : _MOST_LINES + 1], 1):
        size += len(line)
        if size > _MOST_CHARACTERS:
            return 0
        if line.rstrip() in closing:
            return number + 1
    return 0


def front_matter_fields(lines: list[str]) -> dict[str, Value]:
    """The fields of a text's front matter; values as they are written, a list of them for a list.

    What is no value or list of values is left out, and so is front matter that cannot be read.
    """
    end = front_matter_end(lines)
    if not end:
        return {}
    text = "\n".join(lines[1 : end - 1])
    found = _yaml(text) if lines[0].startswith("-") else _toml(text)
    return dict(list(_fields(found))[:_MOST_FIELDS]) if isinstance(found, Mapping) else {}


def _yaml(text: str) -> object:
    import yaml

    try:
        # Every value as the text that is written, for 00123 is no octal number here and 1.10 not 1.1. The parser in
        # Python, as the one in C may exhaust the stack.
        return yaml.load(text, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError, ValueError, TypeError):
        return None


def _toml(text: str) -> object:
    import tomllib

    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError):
        return None


def _fields(found: Mapping[Any, Any]) -> Iterator[tuple[str, Value]]:
    for name, value in found.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            continue
        if isinstance(value, list):
            values = [text for one in value[:_MOST_VALUES] if (text := _text(one))]
            if values:
                yield name, values
        elif text := _text(value):
            yield name, int(text) if re.fullmatch(r"0|-?[1-9]\d{0,17}", text) else text


def _text(value: object) -> str:
    """A value as it is written, "" for what is none."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or isinstance(value, list | Mapping):
        return ""
    text = " ".join(str(value).split())
    return text if len(text) <= _LONGEST else ""
