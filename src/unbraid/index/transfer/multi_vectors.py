"""Multi-vectors for the chunks of a Qdrant collection, beside their base vectors: the server compares them by MaxSim."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from unbraid.embedder import Embedder
from unbraid.errors import ItemError, StoreError
from unbraid.index.store.checksum import checked_entry
from unbraid.items import Code, Item
from unbraid.multi_vector.token_vectors import pool

if TYPE_CHECKING:
    from unbraid.index.store.qdrant_store import QdrantStore

NOTE = "multi_vectors"  # in the collection's metadata: what made them


def add_multi_vectors(
    store: "QdrantStore",
    model: Embedder,
    *,
    vectors: int | None = None,
    on_progress: Callable[[int], None] = lambda count: None,
) -> int:
    """Give every text and code in `store` that has none its multi-vector by the tier of `model`; returns how many were given.

    Each has at most `vectors` of them, None is all. Raises ItemError for a tier without multi-vectors, StoreError where the
    collection holds those of another tier or of another `vectors`.
    """
    spec = model.bundle.tiers[model.tier]["text"].multi_vector
    if spec is None:
        known = " or ".join(model.multi_vector_dims) or "none has them"
        raise ItemError(f"tier {model.tier} of {model.name} has no multi-vectors: choose --tier ({known})")
    made_by = {"bundle": model.name, "tier": model.tier, "multi_vector_id": spec.id, "vectors": vectors}
    if (note := store.read_note(NOTE)) is None:
        store.write_note(NOTE, json.dumps(made_by).encode())
    elif (held := json.loads(note))["multi_vector_id"] != spec.id:
        raise StoreError(
            f"{store.place} holds multi-vectors of tier {held['tier']} of {held['bundle']} ({held['multi_vector_id']}), which do "
            f"not compare with those of tier {model.tier} of {model.name} ({spec.id}): index into another --collection"
        )
    # Earlier versions did not say how many.
    elif held.get("vectors", vectors) != vectors:
        raise StoreError(
            f"{store.place} holds multi-vectors of {_budget(held['vectors'])}, and {_budget(vectors)} was asked for: say the same, "
            "or index into another --collection"
        )
    store.add_tokens(spec.dim)
    count = 0
    for modality in ("text", "code"):
        for page in store.without_tokens(modality):
            entries = map(checked_entry, page.payloads, page.vectors)
            # A damaged chunk is left to `unbraid index`, and an empty one has no vectors.
            texts: dict[UUID, Item] = {
                one: Code(entry.text) if entry.modality == "code" else entry.text
                for one, entry in zip(page.ids, entries, strict=True)
                if entry is not None
            }
            tokens = model.token_vectors(
                list(texts.values()), tier=model.tier, on_truncate="ignore", progress=False
            )
            made: dict[UUID, NDArray[np.float32]] = {
                one: each.vectors if vectors is None else pool(each.vectors, vectors)
                for one, each in zip(texts, tokens, strict=True)
                if len(each)
            }
            store.set_tokens(made)
            count += len(made)
            on_progress(len(made))
    return count


def _budget(vectors: int | None) -> str:
    return "every token (no --vectors)" if vectors is None else f"--vectors {vectors}"
