"""Check a label store: encode a seeded sample of its rows again and compare."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unbraid.distill.data.training_items import TrainingItem
from unbraid.distill.labels.label_shard import text_key
from unbraid.distill.labels.label_store import check_same_store, read_description, read_shards
from unbraid.distill.labels.write_labels import as_item, describe, keyed, routes_of
from unbraid.errors import DataError
from unbraid.items import Item
from unbraid.teacher import Teacher

LEAST = 0.999  # of the cosines; float16 costs 1e-7, another batch 1e-6 in float32
SEED = 0


@dataclass(frozen=True)
class Checked:
    """Cosines of stored to recomputed vectors under one route."""

    route: str
    items: int
    least: float
    mean: float


@dataclass(frozen=True)
class _Row:
    """One stored item, with its vectors float16 [dim] by route."""

    key: str
    modality: str
    text: str
    vectors: Mapping[str, np.ndarray]


def check_labels(
    items: Sequence[TrainingItem],
    folder: Path,
    teacher: Teacher,
    *,
    tasks: Sequence[str] = (),
    sample: int = 64,
) -> list[Checked]:
    """Encode `sample` rows of the store in `folder` again, by the routes of `tasks` (all stored ones if empty).

    Texts and code come from the store, pictures from `items` by key. Every shard is read, so damage anywhere is found.
    Raises DataError for a store of another teacher or without a route of `tasks`, a key that does not fit its text, a
    picture that is not among `items`, and a least cosine below 0.999.
    """
    stored = read_description(folder)["routes"]
    check_same_store(folder, describe(teacher, stored))
    routes = routes_of(teacher, tasks)
    if not tasks:
        routes = {route: task for route, task in routes.items() if route in stored}
    if absent := [route for route in routes if route not in stored]:
        raise DataError(f"{folder}: holds the routes {', '.join(stored)}, not {', '.join(absent)}")
    rows = _sample(folder, sample)
    given = _items(rows, items, folder)
    return [_compare(rows, route, teacher.encode(given, task), folder) for route, task in routes.items()]


def _sample(folder: Path, size: int) -> list[_Row]:
    """`size` rows of all shards (or all there are), chosen by a seed. Checks the key of every text as well."""
    rng, seen = random.Random(SEED), 0
    kept: list[_Row] = []
    for shard in read_shards(folder):
        for row, (key, modality, text) in enumerate(
            zip(shard.keys, shard.modalities, shard.texts, strict=True)
        ):
            if modality != "image" and key != text_key(modality, text):
                raise DataError(f"{folder}: the key {key[:12]} is not that of its {modality} {text[:40]!r}")
            seen += 1
            # Reservoir sampling: rows are kept by value, for the shards together may not fit into memory.
            place = len(kept) if len(kept) < size else rng.randrange(seen)
            if place < size:
                vectors = {route: found[row].copy() for route, found in shard.vectors.items()}
                kept[place : place + 1] = [_Row(key, modality, text, vectors)]
    return kept


def _items(rows: Sequence[_Row], items: Sequence[TrainingItem], folder: Path) -> list[Item]:
    """What the teacher is given for each row."""
    pictures = keyed([item for item in items if item.picture is not None])
    given: list[Item] = []
    for row in rows:
        found = pictures.get(row.key)
        if row.modality == "image" and found is None:
            raise DataError(
                f"{folder}: the picture {row.text!r} is not in the data, or changed since it was labelled"
            )
        given.append(as_item(row.modality, row.text, found.picture if found else None))
    return given


def _compare(rows: Sequence[_Row], route: str, computed: np.ndarray, folder: Path) -> Checked:
    """Cosines of the stored vectors to those `computed`. Raises DataError for one that is too low."""
    stored = np.stack([row.vectors[route] for row in rows]).astype(np.float32)
    lengths = np.linalg.norm(stored, axis=1)
    # A vector that is not of unit length, or not finite, is wrong in any direction.
    cosines = np.where(np.abs(lengths - 1) < 0.01, (stored * computed).sum(1) / np.maximum(lengths, 0.5), 0)
    worst = int(np.argmin(cosines))
    if cosines[worst] < LEAST:
        raise DataError(
            f"{folder}: the stored {route} vector of {rows[worst].modality} {rows[worst].text[:40]!r} has cosine"
            f" {cosines[worst]:.4f} to the teacher's, expected {LEAST} or more: label again into another folder"
        )
    return Checked(route, len(rows), float(cosines[worst]), float(cosines.mean()))
