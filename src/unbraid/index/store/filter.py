"""Which chunks a search may find: by modality, path, language and the fields of their files."""

import difflib
import os
import posixpath
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from unbraid.errors import ItemError
from unbraid.index.files.glob import Glob, escaped
from unbraid.index.files.language import LANGUAGES, PICTURE
from unbraid.index.store.entry import WHOLE_NUMBER, Fields, Value
from unbraid.index.store.file_fields import KEYS, bounds
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
    """All that is given must hold; of several paths or languages one is enough, and none at all lets nothing through.

    `modality` is that of hits: words in a picture are "image". `tier` is one whose texts pass, `not_tier` one whose texts do
    not; pictures have none. `paths` are files and folders, absolute and with forward
    slashes; `patterns` are patterns of names, or of absolute paths (see `Glob`). Raises ItemError for an unknown modality,
    language or comparison.
    """

    modality: Modality | None = None
    paths: tuple[str, ...] | None = None
    patterns: tuple[str, ...] = ()
    languages: tuple[str, ...] | None = None
    conditions: tuple[Condition, ...] = ()
    tier: str = ""
    not_tier: str = ""

    def __post_init__(self) -> None:
        """Check what a type cannot say."""
        if self.modality is not None and self.modality not in MODALITIES:
            raise ItemError(f"unknown modality {self.modality!r}: choose one of {', '.join(MODALITIES)}")
        for name in self.languages or ():
            if name not in LANGUAGES:
                near = difflib.get_close_matches(name.lower(), LANGUAGES, n=1)
                meant = f"did you mean {near[0]}? " if near else ""
                raise ItemError(f"unknown language {name!r}: {meant}choose one of {', '.join(LANGUAGES)}")
        for one in self.conditions:
            if one.compare not in get_args(Compare) or not re.fullmatch(NAME, one.name):
                raise ItemError(
                    f"{one.name!r} {one.compare!r}: expected a name and one of {' '.join(get_args(Compare))}"
                )
            text = str(one.value)
            if one.compare in ("=", "!=") or _number(text) is not None or _moment(text) is not None:
                continue
            if one.name in KEYS:
                # A size with its unit, or an error that says what is expected.
                bounds(one.name, one.compare, text)
            else:
                raise ItemError(
                    f"{one.name}{one.compare}{one.value}: only numbers and dates (2024-05-01) have an order"
                )


ANYTHING = Filter()
# A path, a language or a condition, or several.
Names: TypeAlias = str | Path | Sequence[str | Path]


def read_filter(
    *,
    modality: str | None = None,
    path: Names | None = None,
    language: str | Sequence[str] | None = None,
    where: str | Sequence[str] = (),
) -> Filter:
    """A Filter from what a person writes: paths relative to the working folder, "name=value", "year>=2020".

    A path with *, ? or [ that does not exist is a pattern: without a slash for names anywhere, else for paths. A link
    stands for itself and for what it points to. Raises ItemError as `Filter`.
    """
    paths: tuple[str, ...] | None = None
    patterns: list[str] = []
    if path is not None:
        texts = [os.path.expanduser(str(one)) for one in ([path] if isinstance(path, str | Path) else path)]
        patterns = [one for one in texts if _PATTERN.search(one) and not os.path.lexists(one)]
        plain = [one for one in texts if one not in patterns]
        both = [place(one) for one in plain for place in (os.path.realpath, os.path.abspath)]
        found = list(dict.fromkeys(Path(one).as_posix() for one in both))
        paths = tuple(found)
        # A name may be stored in another form of the same letters than it is typed in.
        patterns = [*map(_absolute, patterns), *(escaped(one) for one in found if not one.isascii())]
    return Filter(
        modality,  # type: ignore[arg-type]  # Filter checks it
        paths,
        tuple(patterns),
        (language,) if isinstance(language, str) else None if language is None else tuple(language),
        tuple(_condition(text) for text in ([where] if isinstance(where, str) else where)),
    )


FIELDS = "fields."  # before the name of a field, it is the key of its values in a payload


def field_names(known: Iterable[str]) -> list[str]:
    """Names of the fields among the payload keys that have an index over their values."""
    return [key.removeprefix(FIELDS) for key in known if key.startswith(FIELDS)]


def values_of(
    conditions: Sequence[Condition], known: Collection[str], values: Callable[[str], Collection[str]]
) -> dict[str, list[str]]:
    """The values in the index of each field that `conditions` name; `values` looks one up.

    The size and time of files are left out, where files have no field of that name of their own (file_fields.py).
    Raises ItemError for a field that no file has, and a value that is of another kind than those of its field.
    """
    found: dict[str, list[str]] = {}
    for one in conditions:
        if one.name in KEYS and one.name not in known:
            continue
        if one.name not in found:
            found[one.name] = list(values(one.name)) if one.name in known else []
        held = found[one.name]
        if not held:
            near = difflib.get_close_matches(one.name, known, n=1)
            meant = f": did you mean {near[0]}?" if near else f"; it has {', '.join(sorted(known)) or 'none'}"
            raise ItemError(f"no file of the index has a field {one.name}{meant}")
        text = str(one.value)
        if one.compare in ("=", "!="):
            unlike = (
                text not in held
                and _number(text) is None
                and all(_number(value) is not None for value in held)
            )
        else:
            unlike = not any(_order(value, text) for value in held)
        if unlike:
            raise ItemError(
                f"{one.name}{one.compare}{text}: the field holds other values here, such as {held[0]}, which do not "
                "compare with it"
            )
    return found


def build_filter(
    filter: Filter,
    paths: Sequence[str] | None,
    fields: Mapping[str, Sequence[str]],
    condition: Callable[[str, str, Any], Any],
    group: Any,
) -> Any:
    """`filter` in the classes of a store's library, None where it lets everything through.

    `paths` are those that its patterns match, None without patterns; `fields` are the values in the index of those that
    its conditions name. `condition` makes one of a payload key, "value", "prefix", "any" or "range", and a value; `group` is the
    library's class with must, must_not and should. Any, since two libraries have the same classes.
    """
    must: list[Any] = []
    must_not: list[Any] = []
    # One of these has to hold beside the others. Within a group of its own in `must` they cost 0.4 ms more a query.
    places: list[Any] = []
    if filter.paths is not None or filter.patterns:
        for path in filter.paths or ():
            places.append(condition("path", "value", path))
            places.append(condition("path", "prefix", path.rstrip("/") + "/"))
        if paths or not places:
            places.append(condition("path", "any", list(paths or ())))
    if filter.modality:
        modality = condition("modality", "value", filter.modality)
        words = condition("language", "value", PICTURE)
        # A picture is found by the words in it too, and these are no text of their own.
        if filter.modality == "image":
            must.append(group(should=[modality, words]))
        else:
            must.append(modality)
            if filter.modality == "text":
                must_not.append(words)
    if filter.languages is not None:
        must.append(condition("language", "any", list(filter.languages)))
    if filter.tier:
        must.append(condition("tier", "value", filter.tier))
    if filter.not_tier:
        must_not.append(condition("tier", "value", filter.not_tier))
    for one in filter.conditions:
        compare: Compare = "=" if one.compare == "!=" else one.compare
        side = must_not if one.compare == "!=" else must
        if one.name not in fields:
            side.append(condition(KEYS[one.name], "range", bounds(one.name, compare, str(one.value))))
            continue
        values = [value for value in fields[one.name] if holds(value, compare, str(one.value))]
        numbers = [int(value) for value in values if WHOLE_NUMBER.fullmatch(value)]  # of an older index
        either = [condition(FIELDS + one.name, "any", some) for some in (values, numbers)]
        side.append(group(should=either))
    given = {"must": must, "must_not": must_not, "should": places}
    return group(**{name: some for name, some in given.items() if some}) if any(given.values()) else None


def holds(value: str, compare: Compare, wanted: str) -> bool:
    """Whether a field's value passes a condition: equal as it is written, in order as a number or a date."""
    if compare in ("=", "!="):
        return (value == wanted) == (compare == "=")
    pair = _order(value, wanted)
    if pair is None:
        return False
    less, equal = pair[0] < pair[1], pair[0] == pair[1]
    return {"<": less, "<=": less or equal, ">": not less and not equal, ">=": not less}[compare]


def _order(value: str, wanted: str) -> tuple[Any, Any] | None:
    """What to compare of two values: two numbers or two moments, None where they are of different kinds."""
    for read in (_number, _moment):
        pair = read(value), read(wanted)
        if pair[0] is not None and pair[1] is not None:
            return pair
    return None


def _number(text: str) -> float | int | None:
    if not re.fullmatch(r"[+-]?\d{1,30}(\.\d{1,30})?", text):
        return None
    return float(text) if "." in text else int(text)


def _moment(text: str) -> datetime | None:
    """The moment of a date, with or without a time; a year or a month is its beginning."""
    if not re.match(r"\d{4}(-\d{2}|$)", text):
        return None
    try:
        found = datetime.fromisoformat(f"{text}-01-01"[:10] if len(text) in (4, 7) else text)
    except ValueError:
        return None
    return found.astimezone(UTC).replace(tzinfo=None) if found.tzinfo else found


def read_fields(texts: Sequence[str]) -> Fields:
    """Values by name of "name=value"; a whole number is one. Raises ItemError for another form, or a name given twice."""
    fields: dict[str, Value] = {}
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
    """Those of the absolute `paths` that one of `patterns` matches, or a folder that they lie in.

    Different forms of the same letters (é as one character or two) are equal.
    """
    globs = [Glob(_composed(pattern)) for pattern in patterns]
    return [path for path in paths if any(glob.matches_within(_composed(path).lstrip("/")) for glob in globs)]


def _composed(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _absolute(pattern: str) -> str:
    """A pattern with a slash is meant from the working folder; one without matches names in any folder."""
    pattern = pattern.replace(os.sep, "/")  # on Windows a backslash parts folders and escapes nothing
    if "/" not in pattern or os.path.isabs(pattern):
        return pattern
    return posixpath.normpath(f"{escaped(Path.cwd().as_posix())}/{pattern}")


def _condition(text: str) -> Condition:
    found = _CONDITION.fullmatch(text.strip())
    if not found:
        raise ItemError(f"{text!r}: expected NAME=VALUE, or a number or date after <, <=, >, >=")
    name, value = found[1], found[3].strip()
    compare = _COMPARE[found[2]]
    if value[:1] in ("=", "<", ">"):
        raise ItemError(
            f"{text!r}: there is no {compare + value[0]}, expected one of {' '.join(get_args(Compare))}"
        )
    return Condition(name, compare, int(value) if WHOLE_NUMBER.fullmatch(value) else value)
