"""`unbraid encode --multi-vector`: a vector for each token of the items, to JSON lines or Parquet."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import typer

from unbraid.embedder import Embedder
from unbraid.errors import DataError
from unbraid.items import Item, Modality

ITEMS = 1024  # encoded at a time: their vectors take 50 MB


def write_multi_vectors(
    embedder: Embedder,
    items: Sequence[Item],
    out: Path | None,
    *,
    vectors: int | None,
    numbers: str,
    modality: Modality | None,
) -> None:
    """Print or write the multi-vectors of `items`, at most `vectors` of each. Raises DataError for items of several tiers."""
    from unbraid.io.multi_vector_file import Row, json_line, multi_vector_file
    from unbraid.io.surrogates import replace_lone_surrogates
    from unbraid.multi_vector.token_vectors import pool

    tier = _tier_of(embedder, items, modality)
    about = _provenance(embedder, tier, vectors, numbers)

    def rows(some: Sequence[Item]) -> list[Row]:
        names = [replace_lone_surrogates(str(item)) for item in some]
        tokens = embedder.token_vectors(some, modality=modality, tier=tier)
        if vectors is not None:
            return [
                Row(name, pool(one.vectors, vectors).astype(numbers))
                for name, one in zip(names, tokens, strict=True)
            ]
        return [
            Row(name, one.vectors.astype(numbers), one.weights)
            for name, one in zip(names, tokens, strict=True)
        ]

    parts = [items[start : start + ITEMS] for start in range(0, len(items), ITEMS)]
    if out is None:
        for part in parts:
            for row in rows(part):
                typer.echo(json_line(row, about))
        return
    count = 0
    dim = embedder.multi_vector_dims[tier]
    with multi_vector_file(out, about, dim, numbers, weights=vectors is None) as file:
        for part in parts:
            found = rows(part)
            file.write(found)
            count += sum(len(row.vectors) for row in found)
    typer.echo(f"{count} vectors of {dim} {np.dtype(numbers)} for {len(items)} items in {out}", err=True)


def _tier_of(embedder: Embedder, items: Sequence[Item], modality: Modality | None) -> str:
    """The tier of all `items`. Raises DataError for several tiers, and for one without multi-vectors."""
    tiers = {route.tier for route in embedder.route(items, modality=modality) if route.tier} or {
        embedder.tier
    }
    known = embedder.multi_vector_dims
    if not known:
        raise DataError(f"{embedder.name} has no tier with multi-vectors")
    if len(tiers) > 1 or not tiers <= known.keys():
        raise DataError(
            f"these items go to tier {' and '.join(sorted(tiers))}, and multi-vectors are of one tier that has them: choose "
            f"--tier {' or '.join(known)}"
        )
    return tiers.pop()


def _provenance(embedder: Embedder, tier: str, vectors: int | None, numbers: str) -> dict[str, Any]:
    """What decides whether two files may be compared: bundle, tier and its head; how many vectors, and their numbers."""
    head = embedder.bundle.tiers[tier]["text"].multi_vector
    assert head is not None
    return {
        "bundle": embedder.name,
        "tier": tier,
        "multi_vector_id": head.id,
        "vectors_at_most": vectors,
        "numbers": numbers,
    }
