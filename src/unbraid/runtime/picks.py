"""Which precision of a bundle's encoders is fastest on this machine, as `unbraid doctor --save` found it.

Kept by bundle and processor, since a home folder may be shared by machines that differ.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unbraid.bundle import PRECISIONS
from unbraid.errors import StoreError
from unbraid.runtime.cpu import processor


def picks_file() -> Path:
    """Where the picks are kept."""
    return Path.home() / ".cache" / "unbraid" / "precisions.json"


def saved_picks(bundle_id: str) -> dict[str, str]:
    """Encoder ("text", "nano text", "image") -> precision for this machine; none where none were saved.

    A file that cannot be read, or says what is no precision, counts as none: the bundle's own defaults are right too.
    """
    picks = _read().get(_key(bundle_id))
    if not isinstance(picks, dict):
        return {}
    return {str(name): precision for name, precision in picks.items() if precision in PRECISIONS}


def save_picks(bundle_id: str, picks: Mapping[str, str]) -> None:
    """Add `picks` to those of the bundle on this machine. Raises StoreError when they cannot be written."""
    path = picks_file()
    kept = _read()
    kept[_key(bundle_id)] = {**saved_picks(bundle_id), **picks}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        unfinished.write_text(json.dumps(kept, indent=1), encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error}") from error


def _key(bundle_id: str) -> str:
    return f"{bundle_id} on {processor()}"


def _read() -> dict[str, Any]:
    try:
        kept = json.loads(picks_file().read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, RuntimeError):  # RuntimeError: no home folder
        return {}
    return kept if isinstance(kept, dict) else {}
