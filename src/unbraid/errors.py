"""Every error unbraid raises on purpose, and the check for optional dependencies.

UnbraidError
├── BundleError        a bundle was refused; the message names the file
├── ItemError          an item cannot be encoded (also a ValueError)
│   └── ImageError     a picture cannot be decoded safely
├── StoreError         an index cannot be opened, does not match the bundle, or is in use by another process
├── TeacherError       a teacher cannot be loaded, does not fit the machine, or gave no finite vector
├── AdoptError         a model of another library cannot become a bundle; the message names the file or module
├── DataError          a data set or vector file cannot be read (also a ValueError)
└── MissingExtraError  an optional dependency is not installed (also an ImportError)
"""

import os
import sys
from importlib.util import find_spec


class UnbraidError(Exception):
    """Root of the tree: `except UnbraidError` catches everything unbraid raises on purpose."""


class BundleError(UnbraidError):
    """A bundle was refused; the message names the file and what is wrong with it."""


class ItemError(UnbraidError, ValueError):
    """An item cannot be encoded."""


class ImageError(ItemError):
    """A picture cannot be decoded, or is not safe to decode."""


class StoreError(UnbraidError):
    """An index cannot be opened, was made with another base, or is in use by another process."""


class TeacherError(UnbraidError):
    """A teacher's checkpoint was refused, does not fit this machine, or gave a vector that is not finite."""


class AdoptError(UnbraidError):
    """A model of another library cannot become a bundle; the message names the file or module."""


class DataError(UnbraidError, ValueError):
    """A data set, vector file or path cannot be read, or holds something else than expected."""


class MissingExtraError(UnbraidError, ImportError):
    """An optional dependency is not installed; the message names the extra."""

    def __init__(self, package: str, extra: str) -> None:
        """Name the missing `package` and the `extra` that installs it."""
        super().__init__(f"{package} is not installed; run: {install_command(extra)}")


def install_command(extra: str) -> str:
    """What to run to install an extra where unbraid is: with pip, pipx or uv."""
    quote = '"' if os.name == "nt" else "'"  # the older of Windows's two shells knows no other
    wanted = f"{quote}unbraid[{extra}]{quote}"
    if os.path.exists(os.path.join(sys.prefix, "pipx_metadata.json")):
        return f"pipx inject unbraid {wanted}"
    if os.path.exists(os.path.join(sys.prefix, "uv-receipt.toml")):
        return f"uv tool install {wanted}"
    return f"pip install {wanted}"


def require(package: str, extra: str) -> None:
    """Raise MissingExtraError that names the `extra` when `package` is not installed; nothing is imported."""
    if find_spec(package) is None:
        raise MissingExtraError(package, extra)
