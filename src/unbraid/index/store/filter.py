"""Which chunks a search may find: by modality, path, language and the fields of their files."""

import difflib
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from pathspec import GitIgnoreSpec

from unbraid.errors import ItemError
from unbraid.index.files.language import LANGUAGES, PICTURE
from unbraid.index.store.entry import Fields
from unbraid.items import MODALITIES, Modality

Compare: TypeAlias = Literal["=", "!=", "<", "<=", ">", ">="]
_COMPARE: dict[str, Compare] = {one: one for one in get_args(Compare)}
NAME = r"[A-Za-z_][A-Za-z0-9_-]*"
_CONDITION = re.compile(rf"({NAME})\s*(!=|<=|>=|=|<|>)(.*)", re.DOTALL)
_PATTERN = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Condition:
    """A field's value compared with `value`; a file that has no such field only passes "!="."""

    name: str
    compare: Compare
    value: str | int


@dataclass(frozen=True)
class Filter:
    """All that is given must hold; of several paths or languages one is enough.

    `modality` is that of hits: words in a picture are "image". `paths` are files and folders, absolute and with forward slashes; `patterns` are lines as in a .gitignore, against
    absolute paths. Raises ItemError for an unknown modality, language or comparison.
    """

    modality: Modality | None = None
    paths: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()

    def __post_init__(self) -> None:
        """Check what a type cannot say."""
        if self.modality is not None and self.modality not in MODALITIES:
            raise ItemError(f"unknown modality {self.modality!r}: choose one of {', '.join(MODALITIES)}")
        for name in self.languages:
            if name not in LANGUAGES:
                near = difflib.get_close_matches(name.lower(), LANGUAGES, n=1)
                meant = f"did you mean {near[0]}? " if near else ""
                raise ItemError(f"unknown language {name!r}: {meant}choose one of {', '.join(LANGUAGES)}")
        for one in self.conditions:
            if one.compare not in get_args(Compare) or not re.fullmatch(NAME, one.name):
                raise ItemError(
                    f"{one.name!r} {one.compare!r}: expected a name and one of {' '.join(get_args(Compare))}"
                )
            if one.compare not in ("=", "!=") and not isinstance(one.value, int):
                raise ItemError(f"{one.name}{one.compare}{one.value}: only whole numbers have an order")


ANYTHING = Filter()
# A path, a language or a condition, or several.
Names: TypeAlias = str | Path | Sequence[str | Path]


def read_filter(
    *,
    modality: str | None = None,
    path: Names = (),
    language: str | Sequence[str] = (),
    where: str | Sequence[str] = (),
) -> Filter:
    """A Filter from what a person writes: paths relative to the working folder, "name=value", "year>=2020".

    A path with *, ? or [ that does not exist is a pattern: without a slash for names anywhere, else for paths. Raises
    ItemError as `Filter`.
    """
    paths = [str(one) for one in ([path] if isinstance(path, str | Path) else path)]
    patterns = [one for one in paths if _PATTERN.search(one) and not os.path.lexists(one)]
    plain = [os.path.realpath(one) for one in paths if one not in patterns]
    return Filter(
        modality,  # type: ignore[arg-type]  # Filter checks it
        tuple(Path(one).as_posix() for one in plain),
        tuple(_absolute(pattern) for pattern in patterns),
        (language,) if isinstance(language, str) else tuple(language),
        tuple(_condition(text) for text in ([where] if isinstance(where, str) else where)),
    )


RANGES = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}


def build_filter(
    filter: Filter, paths: Sequence[str] | None, condition: Callable[[str, str, Any], Any], group: Any
) -> Any:
    """`filter` in the classes of a store's library, None where it lets everything through.

    `paths` are those that its patterns match, None without patterns. `condition` makes one of a payload key, "value",
    "prefix", "any" or one of RANGES, and a value; `group` is the library's class with must, must_not and should. Any,
    since two libraries have the same classes.
    """
    places = [
        place
        for path in filter.paths
        for place in (
            condition("path", "value", path),
            condition("path", "prefix", path.rstrip("/") + "/"),
        )
    ]
    if paths is not None:
        places.append(condition("path", "any", list(paths)))
    must = [group(should=places)] if places else []
    must_not: list[Any] = []
    if filter.modality:
        modality, words = (
            condition("modality", "value", filter.modality),
            condition("language", "value", PICTURE),
        )
        if (
            filter.modality == "image"
        ):  # a picture is found by the words in it too, and these are no text of their own
            must.append(group(should=[modality, words]))
        else:
            must.append(modality)
            if filter.modality == "text":
                must_not.append(words)
    if filter.languages:
        must.append(condition("language", "any", list(filter.languages)))
    for one in filter.conditions:
        kind = one.compare if one.compare in RANGES else "value"
        (must_not if one.compare == "!=" else must).append(condition(f"fields.{one.name}", kind, one.value))
    return group(must=must, must_not=must_not) if must or must_not else None


def read_fields(texts: Sequence[str]) -> Fields:
    """Values by name of "name=value"; a whole number is one. Raises ItemError for another form, or a name given twice."""
    fields: dict[str, str | int] = {}
    for text in texts:
        condition = _condition(text)
        if condition.compare != "=":
            raise ItemError(f"{text!r}: expected NAME=VALUE")
        if condition.name in fields:
            raise ItemError(f"the field {condition.name} is given twice: expected one value")
        fields[condition.name] = condition.value
    return fields


def merged(old: Fields, new: Fields) -> Fields:
    """`old` with the values of `new`; an empty value takes a field away."""
    return {name: value for name, value in {**old, **new}.items() if value != ""}


def matching(paths: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """Those of the absolute `paths` that one of `patterns` matches."""
    spec = GitIgnoreSpec.from_lines(patterns)
    return [path for path in paths if spec.match_file(path.lstrip("/"))]


def _absolute(pattern: str) -> str:
    """A pattern with a slash is meant from the working folder; one without matches names in any folder."""
    if "/" not in pattern or os.path.isabs(pattern):
        return pattern
    folder = re.sub(r"([*?\[\\])", r"\\\1", Path.cwd().as_posix())
    return os.path.normpath(f"{folder}/{pattern}")


def _condition(text: str) -> Condition:
    found = _CONDITION.fullmatch(text.strip())
    if not found:
        raise ItemError(f"{text!r}: expected NAME=VALUE, or a number after !=, <, <=, >, >=")
    name, value = found[1], found[3].strip()
    compare = _COMPARE[found[2]]
    if value[:1] in ("=", "<", ">"):
        raise ItemError(
            f"{text!r}: there is no {compare + value[0]}, expected one of {' '.join(get_args(Compare))}"
        )
    number = re.fullmatch(r"[+-]?\d{1,18}", value)
    return Condition(name, compare, int(value) if number else value)
