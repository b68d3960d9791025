"""An index in a new base space, its vectors converted and not encoded: fit, say what to expect, stream."""

import hashlib
import shutil
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from unbraid.embedder import Embedder
from unbraid.errors import StoreError
from unbraid.index.roots import copy_roots
from unbraid.index.store.edge import require_room
from unbraid.index.store.folder_store import FolderStore
from unbraid.index.store.meta import meta_of_model
from unbraid.index.store.store import Store
from unbraid.index.transfer.base_converter import LEAST, Quality, convert, fit_converter
from unbraid.index.transfer.shared_items import Pairs
from unbraid.io.atomic import sync_folder

# The least share of the nearest items that is found. It predicts labelled recall, relative to re-encoding, to some
# hundredths (benchmarks/convert.py).
GOOD = 0.95


@dataclass(frozen=True)
class Converter:
    """A map [new dim, old dim] between base spaces, and its quality for each kind of item that had enough pairs."""

    matrix: np.ndarray
    quality: dict[str, Quality]
    pairs: int

    @property
    def id(self) -> str:
        """A hash of its numbers."""
        return hashlib.sha256(np.ascontiguousarray(self.matrix, "<f4").tobytes()).hexdigest()[:16]


@dataclass
class Converted:
    """How many items are in the new index, and how many are not: damaged, or of a kind that was left out."""

    items: int = 0
    damaged: int = 0
    left_out: int = 0


def fit(pairs: Pairs) -> Converter:
    """A converter from what both bundles have encoded. Raises StoreError when no kind has 50 items."""
    try:
        matrix, _, quality = fit_converter(pairs.old, pairs.new, pairs.kinds)
    except ValueError as error:
        raise StoreError(
            f"too few items to fit a converter on ({error}): encode them again instead"
        ) from error
    return Converter(matrix, quality, len(pairs.kinds))


def doubts(converter: Converter, kinds: Collection[str]) -> list[str]:
    """Reasons not to convert an index of these kinds, none if all is well."""
    found = []
    for kind in kinds:
        known = converter.quality.get(kind)
        if known is None:
            found.append(f"nothing is known of {kind}: fewer than {LEAST} of its items were encoded by both")
        elif known.nearest < GOOD:
            found.append(f"{kind} would lose more than {1 - GOOD:.0%} of the nearest items")
    return found


def convert_index(
    store: Store,
    into: Path,
    model: Embedder,
    converter: Converter,
    on_progress: Callable[[int], None],
    *,
    leave_out: Collection[str] = (),
) -> Converted:
    """Write `store` as a new index `into` of the base of `model`, whole or not at all.

    Kinds in `leave_out` and damaged items are not in it. Raises StoreError when `into` exists or does not fit.
    """
    if into.exists():
        raise StoreError(f"{into} exists already: name a folder that does not")
    folder = into.absolute()
    if not folder.parent.is_dir():
        raise StoreError(f"{into}: the folder it is to be in does not exist")
    require_room(folder.parent, (store.disk_bytes() or 0) // 2)
    old = store.meta
    dim = model.dim if old.storage.dim == old.dim else min(old.storage.dim, model.dim)
    meta = meta_of_model(model, replace(old.storage, dim=dim))
    meta = replace(meta, provenance=replace(meta.provenance, converted=_origin(store, converter)))
    unfinished = folder.with_name(folder.name + ".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    done = Converted()
    try:
        with FolderStore.create(unfinished, meta) as new:
            for entries, vectors, damaged in store.items():
                kept = [row for row, entry in enumerate(entries) if entry.modality not in leave_out]
                # No tier of the new bundle has encoded them.
                moved = [replace(entries[row], tier="") for row in kept]
                new.upsert(moved, convert(converter.matrix, vectors[kept]))
                done.items += len(kept)
                done.left_out += len(entries) - len(kept)
                done.damaged += damaged
                on_progress(len(entries) + damaged)
            new.settle()
            copy_roots(store, new)
        unfinished.rename(folder)
        sync_folder(folder.parent)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return done


def _origin(store: Store, converter: Converter) -> dict[str, Any]:
    """What a new index says of the one it was converted from."""
    return {
        "base_id": store.meta.base_id,
        **asdict(store.meta.provenance),
        "converter": converter.id,
        "pairs": converter.pairs,
        "quality": {kind: asdict(found) for kind, found in converter.quality.items()},
    }
