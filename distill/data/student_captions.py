"""Captions of pictures as base vectors of a run's own text tiers."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unbraid.distill.data.captioned_pictures import Picture
from unbraid.distill.data.captions import distinct_captions
from unbraid.distill.data.encoded_items import encode_items
from unbraid.distill.data.training_items import TrainingItem
from unbraid.distill.labels.label_shard import text_key
from unbraid.distill.recipe import Recipe
from unbraid.distill.recipe_models import torch_dtype
from unbraid.distill.trained_students import MULTI, best_english, load_students, weights_hash


def student_captions(pictures: Sequence[Picture], recipe: Recipe, run: Path) -> dict[str, np.ndarray]:
    """Base vectors float32 [512] of all captions by key: English ones by the best English tier, others by multi.

    They are kept in run/captions, and encoded again only where the tier has other weights.
    """
    tier = best_english(recipe)
    used = [name for name in (tier, MULTI) if name in recipe.text]
    to_base = load_students(recipe, run, dtype=torch_dtype(recipe), tiers=used)[tier]
    items = [TrainingItem(text, "text") for text in distinct_captions(pictures)]
    encoded = encode_items(items, run / "captions", to_base, weights_hash(run, used))
    keys = [text_key("text", item.text) for item in items]
    return dict(zip(keys, encoded.targets.astype(np.float32), strict=True))
