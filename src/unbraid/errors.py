"""Every error unbraid raises on purpose.

UnbraidError
├── BundleError        a bundle was refused; the message names the file
├── ItemError          an item cannot be encoded (also a ValueError)
│   └── ImageError     a picture cannot be decoded safely
├── StoreError         an index cannot be opened, does not match the bundle, or is held by another process
├── TeacherError       a teacher cannot be loaded, does not fit the machine, or gave no finite vector
├── DataError          a data set or vector file cannot be read (also a ValueError)
└── MissingExtraError  an optional dependency is not installed (also an ImportError)
"""


class UnbraidError(Exception):
    """Root of the tree: `except UnbraidError` catches everything unbraid raises on purpose."""


class BundleError(UnbraidError):
    """A bundle was refused; the message names the file and what is wrong with it."""


class ItemError(UnbraidError, ValueError):
    """An item cannot be encoded."""


class ImageError(ItemError):
    """A picture cannot be decoded, or is not safe to decode."""


class StoreError(UnbraidError):
    """An index cannot be opened, was made with another base, or is held by another process."""


class TeacherError(UnbraidError):
    """A teacher's checkpoint was refused, does not fit this machine, or gave a vector that is not finite."""


class DataError(UnbraidError, ValueError):
    """A data set or a vector file cannot be read as what it claims to be."""


class MissingExtraError(UnbraidError, ImportError):
    """An optional dependency is not installed; the message names the extra."""

    def __init__(self, package: str, extra: str) -> None:
        """Name the `package` that is absent and the `extra` that brings it."""
        super().__init__(f"{package} is not installed; run: pip install 'unbraid[{extra}]'")
