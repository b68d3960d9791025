"""Captions of pictures as base vectors: the fixed targets of an image tower."""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from unbraid.distill.data.captioned_pictures import Picture
from unbraid.distill.data.training_items import TrainingItem
from unbraid.distill.labels.label_shard import text_key
from unbraid.distill.labels.label_store import read_shards
from unbraid.distill.labels.write_labels import label
from unbraid.distill.space.base_space import BaseSpace
from unbraid.errors import DataError
from unbraid.teacher import Teacher


@dataclass(frozen=True)
class Captions:
    """All captions as base vectors float32 [n, 512], the captions of each picture, and the target of each picture."""

    vectors: Tensor
    of_picture: list[list[int]]  # rows of `vectors`, for each picture
    targets: Tensor  # [pictures, 512], unit length


def labelled_captions(
    pictures: Sequence[Picture], run: Path, space: BaseSpace, teacher: Callable[[], Teacher]
) -> dict[str, np.ndarray]:
    """Base vectors float32 [512] of all captions, and of those pictures that are labelled, by key.

    Captions missing in run/labels are labelled into run/captions, a store of its own: more items in run/labels would
    change the labels of the other students. `teacher` is loaded only if something is missing. Raises KeyboardInterrupt
    when that labelling was interrupted; the next call resumes it.
    """
    texts = {text_key("text", caption): caption for caption in distinct_captions(pictures)}
    stored = stored_base_vectors(run / "labels", space, {*texts, *(picture.key for picture in pictures)})
    missing = [TrainingItem(text, "text") for key, text in texts.items() if key not in stored]
    extra = stored_base_vectors(run / "captions", space, {text_key("text", item.text) for item in missing})
    if len(extra) < len(missing):
        if label(missing, run / "captions", teacher()).interrupted:
            raise KeyboardInterrupt
        extra = stored_base_vectors(run / "captions", space, set(texts))
    return stored | extra


def caption_vectors(
    pictures: Sequence[Picture], stored: Mapping[str, np.ndarray], *, own: float = 0.0
) -> Captions:
    """Base vectors of every distinct caption, and the targets of the pictures.

    `stored` are base vectors float32 [512] by the key of a text or picture. `own` is the share of a training
    photograph's own stored vector in its target. Raises DataError when that vector is missing.
    """
    distinct = distinct_captions(pictures)
    vectors = [stored[text_key("text", caption)] for caption in distinct]
    base = torch.from_numpy(np.stack(vectors).astype(np.float32))
    number = {caption: row for row, caption in enumerate(distinct)}
    of_picture = [[number[caption] for caption in picture.captions] for picture in pictures]
    targets = [normalize(base[numbers].mean(0), dim=0) for numbers in of_picture]
    if own:
        for row, picture in enumerate(pictures):
            if picture.dev or not picture.key:
                continue
            if picture.key not in stored:
                raise DataError(
                    f"a picture of {picture.source} is not labelled: run `unbraid train label` again"
                )
            mixed = (1 - own) * targets[row] + own * torch.from_numpy(stored[picture.key])
            targets[row] = normalize(mixed, dim=0)
    return Captions(base, of_picture, torch.stack(targets))


def distinct_captions(pictures: Sequence[Picture]) -> list[str]:
    """Every caption once, in the order of the pictures."""
    return list(dict.fromkeys(caption for picture in pictures for caption in picture.captions))


def stored_base_vectors(labels: Path, space: BaseSpace, keys: AbstractSet[str]) -> dict[str, np.ndarray]:
    """Base vectors float32 [512] by key, of the `keys` that the store in `labels` holds; none where there is no store."""
    found: dict[str, np.ndarray] = {}
    if not labels.exists():
        return found
    for shard in read_shards(labels):
        rows = [row for row, key in enumerate(shard.keys) if key in keys]
        base = space.project({route: vectors[rows] for route, vectors in shard.vectors.items()})
        found |= {shard.keys[row]: vector for row, vector in zip(rows, base, strict=True)}
    return found
