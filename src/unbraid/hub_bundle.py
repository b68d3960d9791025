"""A bundle from a hub, as a plain folder in the user's cache: the hub's own cache consists of links, which a bundle refuses."""

import glob
import json
import re
from collections.abc import Sequence
from pathlib import Path

from unbraid.bundle import MANIFEST, Bundle, read_bundle
from unbraid.errors import BundleError, DataError
from unbraid.io.hub import fetch

_REVISION = re.compile(r"(?!.*\.\.)\w[\w./+-]*")


def fetch_bundle(name: str, revision: str | None) -> Bundle:
    """The verified bundle in the hub repository `name` ("org/name"). Only bundle.json and the files it names are fetched.

    What was fetched before is not fetched again. A `revision` that is a whole commit hash needs no hub then; a branch is
    looked up each time, and where the hub cannot be reached, the last copy counts. Raises BundleError.
    """
    from platformdirs import user_cache_path

    if revision is not None and not _REVISION.fullmatch(revision):
        raise BundleError(f"revision {revision!r} is no commit, tag or branch")
    place = user_cache_path("unbraid", appauthor=False) / name / (revision or "main")
    try:
        fetch(name, revision, [MANIFEST], place)
        # A branch that moves between these two is noticed: the hashes do not fit then.
        folder = fetch(name, revision, [MANIFEST, *map(glob.escape, _named_files(place))], place)
    except DataError as error:
        raise BundleError(str(error)) from error
    try:
        return read_bundle(folder)
    except BundleError as error:
        raise BundleError(
            f"{error}; it came from a hub: load it again while the hub can be reached, or delete {place} first"
        ) from error


def _named_files(folder: Path) -> Sequence[str]:
    """The files that bundle.json names; none where it says nothing, which `read_bundle` then reports."""
    try:
        return [str(name) for name in json.loads((folder / MANIFEST).read_bytes())["files"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []
