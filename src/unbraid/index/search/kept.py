"""What an index keeps from search to search, since to make it anew would cost as much as the rest of a search."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import numpy as np

from unbraid.index.protocol import Model, Vectors
from unbraid.index.search.best_part import PartVectors
from unbraid.index.search.folding import Foldings
from unbraid.index.store.entry import Entry
from unbraid.index.store.store import Store, Version, without_damage

SPREAD_SAMPLE = 256  # chunks that a query's usual cosines are taken from: their spread has an error of 4.4 %
# Task vectors of chunks, 16 MB of 512 dimensions: searches in one folder, or about one subject, score the same chunks.
KEPT = 8_192
ENTRIES = 4_096  # chunks as they were read and checked: as such searches show them


@dataclass
class Kept:
    """What was fitted and mapped for the searches before.

    `foldings` are by their tasks. `usual` has by document task the sample of the index that was mapped, and its task vectors.
    `documents` has the version of the index and, by document task, the task vectors [dim] of chunks; `entries` likewise what
    was read of chunks. `parts` are by document task the vectors of parts of passages (best_part.py).
    """

    foldings: Foldings = field(default_factory=dict)
    usual: dict[str, tuple[Vectors, Vectors]] = field(default_factory=dict)
    documents: tuple[Version | None, dict[str, dict[UUID, Vectors]]] = field(
        default_factory=lambda: (None, {})
    )
    entries: tuple[Version | None, dict[UUID, Entry]] = field(default_factory=lambda: (None, {}))
    parts: PartVectors = field(default_factory=dict)


def usual_documents(kept: Kept, sample: Vectors, model: Model, task: str) -> Vectors:
    """Task vectors [n, dim] of up to SPREAD_SAMPLE chunks of a `sample` of the index, mapped once for each sample."""
    of, mapped = kept.usual.get(task, (None, None))
    if of is not sample or mapped is None:
        mapped = model.map(sample[:SPREAD_SAMPLE], task)
        kept.usual[task] = sample, mapped
    return mapped


def checked_entries(kept: Kept, version: Version, store: Store, ids: Sequence[UUID]) -> list[Entry | None]:
    """What is stored under each of `ids`, read where that was not done at this `version`, as `document_vectors` does.

    None where it is gone, or damaged.
    """
    of, known = kept.entries
    if of != version or len(known) > ENTRIES:
        known = {}
        kept.entries = version, known
    if new := [one for one in ids if one not in known]:
        read = store.entries(new, store.vectors(new))
        known.update((one, entry) for one, entry in zip(new, read, strict=True) if entry is not None)
    return [known.get(one) for one in ids]


def document_vectors(
    kept: Kept, version: Version, store: Store, model: Model, task: str, ids: Sequence[UUID]
) -> Vectors:
    """Task vectors [n, dim] of chunks, read and mapped where that was not done at this `version` of the index.

    `version` is from before this call, so that what is written meanwhile is read again.
    """
    of, by_task = kept.documents
    if of != version:
        by_task = {}
        kept.documents = version, by_task
    known = by_task.get(task)
    if known is None:
        known = by_task[task] = {}
    if new := [one for one in ids if one not in known]:
        known.update(zip(new, model.map(without_damage(store.vectors(new)), task), strict=True))
    if len(known) > KEPT:
        by_task.pop(task, None)
    return np.stack([known[one] for one in ids]) if ids else np.empty((0, model.dim), np.float32)
