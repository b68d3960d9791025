"""Scores of a text student on data sets of unseen sources, by its base vectors alone: no mapper is fitted yet."""

from collections.abc import Sequence

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import nn

from unbraid.distill.data.dev_sets import DevSet, score
from unbraid.distill.data.training_items import TrainingItem
from unbraid.distill.trained_students import encode
from unbraid.runtime.code_text import split_identifiers

MEAN = ", mean"  # what the names of means end in


def unseen_scores(
    sets: Sequence[DevSet], encoder: nn.Module, tokenizer: Tokenizer, split_code: bool, dtype: torch.dtype
) -> dict[str, float]:
    """The score of each set (nDCG@10, or Spearman for similarity), and the mean of each kind.

    `split_code` says whether the student reads the names of code split.
    """
    found: dict[str, float] = {}
    for one in sets:
        sides = []
        for items in (one.queries, one.documents):
            texts = [
                split_identifiers(item.text) if _split(item, split_code) else item.text for item in items
            ]
            sides.append(encode(encoder, tokenizer, texts, dtype).numpy())
        found[one.name] = score(one, *sides)
    for kind in dict.fromkeys(one.kind for one in sets):
        found[f"{kind}{MEAN}"] = float(np.mean([found[one.name] for one in sets if one.kind == kind]))
    return found


def _split(item: TrainingItem, split_code: bool) -> bool:
    return split_code and item.modality == "code"
