"""Where unbraid keeps what is a person's own: indexes in the data folder of the platform, the config file in that for settings."""

import os
import re
from pathlib import Path

from unbraid.errors import DataError

INDEX, CONFIG = "UNBRAID_INDEX", "UNBRAID_CONFIG"  # environment variables
DEFAULT = "default"  # name of the index that is used where none is named
MARK = "unbraid.json"  # in the folder of every index
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}")


def data_folder() -> Path:
    """The folder that holds the indexes that are known by name, such as ~/.local/share/unbraid; it need not exist."""
    from platformdirs import user_data_path

    return user_data_path("unbraid", appauthor=False)


def config_file() -> Path:
    """The config file, which need not exist: what UNBRAID_CONFIG names, or such as ~/.config/unbraid/config.toml."""
    from platformdirs import user_config_path

    named = os.environ.get(CONFIG)
    return Path(named).expanduser() if named else user_config_path("unbraid", appauthor=False) / "config.toml"


def index_folder(name: str) -> Path:
    """The folder of an index by its name, or by a path: what has a slash, or begins with a dot or ~.

    Raises DataError for what is neither.
    """
    if "/" in name or os.sep in name or name[:1] in (".", "~"):
        return Path(name).expanduser()
    if not _NAME.fullmatch(name):
        raise DataError(
            f"{name!r} is no name of an index: expected letters, digits, dots, - and _, or a path"
        )
    return data_folder() / name


def named_indexes() -> dict[str, Path]:
    """The indexes in the data folder, by name."""
    found = sorted(data_folder().glob(f"*/{MARK}"))
    return {path.parent.name: path.parent for path in found}
