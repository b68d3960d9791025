"""Repair a damaged index: keep the undamaged items, encode the others again from their files."""

from dataclasses import replace
from pathlib import Path

from unbraid.errors import StoreError
from unbraid.index.add import add_files
from unbraid.index.protocol import Model
from unbraid.index.roots import plan, read_roots
from unbraid.index.store.folder_store import FolderStore
from unbraid.index.store.scan import Damage, sha256_of
from unbraid.index.store.verify import Repair, Tell, rewrite


def repair(store: FolderStore, model: Model, on_progress: Tell | None = None) -> Repair:
    """Put the undamaged items into a new Edge store, and encode the others again where their file has not changed.

    The others are reported as lost. Raises StoreError when the Edge store cannot be read at all.
    """
    found = rewrite(store, on_progress)
    if found.broken:
        reasons = "; ".join(f"{file}: {why}" for file, why in found.broken.items())
        raise StoreError(
            f"{store.place} cannot be repaired ({reasons}); nothing in it was changed. Make it again: "
            "unbraid index PATH... --into ANOTHER_FOLDER"
        )
    result = Repair(kept=found.items, missing=found.missing)
    wanted: dict[str, list[Damage]] = {}
    for item in found.damaged:
        now = sha256_of(item.path) if item.path else None
        if item.path is None:
            why = "nothing tells which file it came from"
        elif now is None:
            why = "the file it came from cannot be read any more"
        elif item.sha256 is None:
            why = "nothing tells which content of the file it came from"
        elif now != item.sha256:
            why = "the file it came from has changed since"
        else:
            wanted.setdefault(item.path, []).append(item)
            continue
        result.lost.append(replace(item, reason=why))
    if wanted:
        known = store.files()
        planned = plan([Path(path) for path in wanted], read_roots(store), {}, known, None)
        add_files(store, model, planned, known, progress=False)
    states = store.files()
    for path, items in wanted.items():
        if path in states and states[path].complete:
            result.encoded.append(path)
        else:
            result.lost += [replace(item, reason="its source could not be encoded again") for item in items]
    return result
