"""Stage 1: write the teacher's vectors of every training item once; resumable at any moment."""

import hashlib
from pathlib import Path

import numpy as np
import torch

from unbraid.code_text import split_identifiers
from unbraid.distill.data import TrainingItem, training_items
from unbraid.distill.recipe import Recipe
from unbraid.progress import track
from unbraid.teacher import Teacher
from unbraid.teacher.labels import Labels, open_labels, shard_path, write_shard

SHARD = 8192  # items; a shard is what a kill can lose


def label(recipe: Recipe, data: Path, folder: Path, teacher: Teacher) -> int:
    """Label the recipe's items from `data` into `folder` with `teacher`; returns how many items there are.

    Shards that exist are kept. Items are in the recipe's shuffled order, so that any first part of the
    shards is a fair sample of the whole. Raises DataError when the folder holds other labels.
    """
    items = training_items(recipe.source, data, seed=recipe.seed)[: recipe.items or None]
    digest = hashlib.sha256("\0".join(item.text for item in items).encode("utf-8", "replace")).hexdigest()
    open_labels(folder, {"teacher": teacher.id, "items": len(items), "sha256": digest})
    starts = [
        start for start in range(0, len(items), SHARD) if not shard_path(folder, start // SHARD).exists()
    ]
    for start in track(starts, "label", unit="shards"):
        write_shard(shard_path(folder, start // SHARD), _label_shard(items[start : start + SHARD], teacher))
    return len(items)


def _label_shard(items: list[TrainingItem], teacher: Teacher) -> Labels:
    """One shard: a vector per distinct route of the teacher."""
    texts = [split_identifiers(item.text) if item.modality == "code" else item.text for item in items]
    task_of_route = {route: task for task, route in teacher.routes.items()}
    vectors = {route: teacher.encode(texts, task).astype(np.float16) for route, task in task_of_route.items()}
    return Labels(
        [item.text for item in items],
        [item.modality for item in items],
        [item.anchor for item in items],
        vectors,
    )


def teacher_dtype(recipe: Recipe) -> torch.dtype:
    """The torch dtype of the recipe's `precision`."""
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[recipe.precision]
