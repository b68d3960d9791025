"""Recipes: TOML files with typed contents. An unknown, missing or mistyped field is an error that names it."""

import re
from pathlib import Path
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from unbraid.errors import DataError


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of a recipe. Its annotated fields are its keys; those without a default are required."""


T = TypeVar("T", bound=Table)


def read_recipe_file(path: Path, kind: type[T], *, shipped: Path) -> tuple[Path, T]:
    """The file that `path` means and its contents as a `kind`.

    A bare name such as "starter" means the recipe of that name in the folder `shipped`. Raises DataError for a file
    that is not TOML and for contents that do not fit `kind`.
    """
    inside = shipped / f"{path}.toml"
    path = path if path.is_file() or not inside.exists() else inside
    try:
        return path, msgspec.toml.decode(path.read_bytes(), type=kind)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at ")
        place = re.sub(r"`|\$\.", "", where)
        raise DataError(f"{path}: {place + ': ' if place else ''}{what}{_allowed(kind, where)}") from error
    except (OSError, UnicodeDecodeError, msgspec.DecodeError) as error:
        raise DataError(f"{path}: not a readable recipe: {error}") from error


def _allowed(kind: Any, where: str) -> str:
    """What the place `where` in a recipe of type `kind` allows, if it is one of some names.

    msgspec names the place as in "`$.source[0].licence`" and "`key` in `$.mapper`".
    """
    for part in re.findall(r"\.(\w+)|(\[)", where):
        kind = get_type_hints(kind)[part[0]] if part[0] else _item_type(kind)
        if NoneType in get_args(kind):
            kind = get_args(kind)[0]
    if where.startswith("`key` in"):
        kind = get_args(kind)[0]
    if get_origin(kind) is Literal:
        return f": expected {', '.join(get_args(kind))}"
    return f"; known fields: {', '.join(get_type_hints(kind))}" if isinstance(kind, type) else ""


def _item_type(kind: Any) -> Any:
    """The type of the values of a dictionary, or of the items of a tuple."""
    return get_args(kind)[1 if get_origin(kind) is dict else 0]
