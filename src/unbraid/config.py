"""The config file: what a person would otherwise write on every command line."""

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from unbraid.errors import DataError
from unbraid.places import config_file


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """What the config file may say; an option of a command goes before it."""

    index: str | None = None  # name or path of the index, where --into, --in and --index do not say
    tier: str | None = None  # of the starter, as --tier
    vectors_only: bool = False  # as --vectors-only of a search
    ocr: bool | None = None  # of new roots, as --ocr and --no-ocr
    exclude: tuple[str, ...] = ()  # of new roots, as --exclude
    roots: tuple[str, ...] = ()  # what `unbraid index` without a path puts into the index too

    @property
    def of_new_roots(self) -> dict[str, Any]:
        """The settings of a root that is new, by name."""
        return {"exclude": self.exclude} | ({} if self.ocr is None else {"ocr": self.ocr})


def read_config(path: Path | None = None) -> Config:
    """What the config file says; the defaults where there is none. Raises DataError that names what is wrong."""
    path = path or config_file()
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), type=Config)
    except FileNotFoundError:
        return Config()
    except msgspec.ValidationError as error:
        known = ", ".join(field.encode_name for field in msgspec.structs.fields(Config))
        what = re.sub(r"`|\$\.?", "", str(error)).replace("Object contains unknown field", "unknown key")
        raise DataError(f"{path}: {what}; known keys: {known}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{path}: not a readable config file: {error}") from error
