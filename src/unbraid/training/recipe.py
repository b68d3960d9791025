"""TOML values as typed dataclasses: an unknown key, a missing one or a value of another type is an error."""

import dataclasses
import inspect
import tomllib
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from unbraid.errors import DataError

T = TypeVar("T")


def read_toml(path: Path, shipped: Path) -> dict[str, Any]:
    """Tables of the recipe at `path`; a bare name such as "starter" means the one in the folder `shipped`.

    Raises DataError for a file that is not TOML.
    """
    inside = shipped / f"{path}.toml"
    path = path if path.is_file() or not inside.exists() else inside
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{path}: not a readable recipe: {error}") from error


def read_typed(value: Any, hint: Any, where: str) -> Any:
    """The TOML `value` as a `hint`, the type of a field above. Raises DataError that begins with `where`."""
    if get_origin(hint) is UnionType:  # a table that may be left out; TOML itself has no null
        (hint,) = (part for part in get_args(hint) if part is not NoneType)
    origin, parts = get_origin(hint), get_args(hint)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint) and isinstance(value, dict):
        hints = get_type_hints(hint)
        unknown = sorted(set(value) - set(hints))
        if unknown:
            raise DataError(f"{where}: unknown {', '.join(unknown)}; known: {', '.join(hints)}")
        fields = {key: read_typed(one, hints[key], f"{where}: {key}") for key, one in value.items()}
        try:
            return hint(**fields)
        except TypeError as error:
            raise DataError(f"{where}: {error}") from error
    if origin is tuple and isinstance(value, list):
        return tuple(read_typed(one, parts[0], f"{where} {number}") for number, one in enumerate(value, 1))
    if origin is dict and isinstance(value, dict):
        return {
            read_typed(key, parts[0], where): read_typed(one, parts[1], f"{where}.{key}")
            for key, one in value.items()
        }
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is hint or (origin is Literal and value in parts):
        return value
    raise DataError(f"{where}: {value!r} where {inspect.formatannotation(hint, hint.__module__)} is expected")
