"""Fetch a model from a hub: bundles, teachers and backbones."""

import re
from collections.abc import Sequence
from pathlib import Path

from unbraid.errors import DataError

HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def fetch(name: str, revision: str | None, patterns: Sequence[str], local_dir: Path | None = None) -> Path:
    """The local folder with those files of the hub repository `name` ("org/name") that match `patterns`.

    `revision` pins a commit, tag or branch. Files are links into the hub's cache, or plain files in `local_dir`.
    Raises DataError for a name that is no hub id and when the download fails.
    """
    if not HUB_ID.fullmatch(name):
        raise DataError(f"{name}: no such folder, and not a hub id of the form org/name")
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(name, revision=revision, allow_patterns=list(patterns), local_dir=local_dir)
        )
    except Exception as error:  # the hub client's own classes, those of its HTTP library, OSError, ValueError
        raise DataError(
            f"{name}: cannot be fetched from the hub: {error}; or pass a folder with its files"
        ) from error


def file_sizes(name: str, revision: str | None) -> dict[str, int]:
    """The bytes of each file of the hub repository `name`; empty where the hub does not tell or cannot be reached."""
    from huggingface_hub import HfApi

    try:
        found = HfApi().model_info(name, revision=revision, files_metadata=True, timeout=10)
    except Exception:  # noqa: BLE001  # as above; the files may be here already
        return {}
    return {one.rfilename: one.size for one in found.siblings or () if one.size}
