"""An index in a new base space, its vectors converted and not encoded: fit, say what is to be expected, stream."""

import hashlib
import shutil
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from unbraid.embedder import Embedder
from unbraid.errors import StoreError
from unbraid.index.store.edge import require_room
from unbraid.index.store.folder_store import Store
from unbraid.index.store.meta import provenance
from unbraid.index.transfer.base_converter import LEAST, Quality, convert, fit_converter
from unbraid.index.transfer.shared_items import Pairs
from unbraid.io.atomic import sync_folder

# Of the nearest items' share that is found. It foretells labelled recall against re-encoding's to some hundredths
# (benchmarks/convert.py).
GOOD = 0.95


@dataclass(frozen=True)
class Converter:
    """A map [new dim, old dim] between base spaces, and how good it is for each kind of item that had pairs enough."""

    matrix: np.ndarray
    quality: dict[str, Quality]
    pairs: int

    @property
    def id(self) -> str:
        """A hash of its numbers."""
        return hashlib.sha256(np.ascontiguousarray(self.matrix, "<f4").tobytes()).hexdigest()[:16]


@dataclass
class Converted:
    """How many items are in the new index, how many are not because they are damaged or of a kind that was left out."""

    items: int = 0
    damaged: int = 0
    left_out: int = 0


def fit(pairs: Pairs) -> Converter:
    """A converter from what both bundles have encoded. Raises StoreError for fewer than 50 items of every kind."""
    try:
        matrix, _, quality = fit_converter(pairs.old, pairs.new, pairs.kinds)
    except ValueError as error:
        raise StoreError(
            f"too few items to fit a converter on ({error}): encode them again instead"
        ) from error
    return Converter(matrix, quality, len(pairs.kinds))


def doubts(converter: Converter, kinds: Collection[str]) -> list[str]:
    """Why an index of these kinds should not be converted, if there is reason not to."""
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
    say: Callable[[int], None],
    *,
    leave_out: Collection[str] = (),
) -> Converted:
    """Write `store` as a new index `into` of the base of `model`; it is there whole or not at all.

    Kinds in `leave_out` and damaged items are not in it. Raises StoreError when `into` exists or does not fit.
    """
    if into.exists():
        raise StoreError(f"{into} exists already: name a folder that does not")
    folder = into.absolute()
    if not folder.parent.is_dir():
        raise StoreError(f"{into}: the folder it is to be in does not exist")
    size = sum(path.stat().st_blocks * 512 for path in store.folder.rglob("*") if path.is_file())
    require_room(folder.parent, size // 2)
    old = store.meta
    storage = replace(
        old.storage, dim=model.dim if old.storage.dim == old.dim else min(old.storage.dim, model.dim)
    )
    made_with = replace(provenance(model), converted=_origin(store, converter))
    unfinished = folder.with_name(folder.name + ".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    done = Converted()
    try:
        with Store.open(
            unfinished,
            base_id=model.base_id,
            dim=model.dim,
            create=True,
            provenance=made_with,
            storage=storage,
        ) as new:
            for entries, vectors, damaged in store.items():
                kept = [row for row, entry in enumerate(entries) if entry.modality not in leave_out]
                new.upsert([entries[row] for row in kept], convert(converter.matrix, vectors[kept]))
                done.items += len(kept)
                done.left_out += len(entries) - len(kept)
                done.damaged += damaged
                say(len(entries) + damaged)
            new.settle()
        unfinished.rename(folder)
        sync_folder(folder.parent)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return done


def _origin(store: Store, converter: Converter) -> dict[str, Any]:
    """What an index says of the one it was converted from."""
    return {
        "base_id": store.meta.base_id,
        **asdict(store.meta.provenance),
        "converter": converter.id,
        "pairs": converter.pairs,
        "quality": {kind: asdict(found) for kind, found in converter.quality.items()},
    }
