"""Items with the vectors of a trained tier as targets: cheap labels for a tier that learns from very many.

A teacher of three encoders labels some ten items a second on a core; a trained tier encodes hundreds.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unbraid.distill.data.training_items import TrainingItem
from unbraid.distill.trained_students import ToBase
from unbraid.io.atomic import atomic_file
from unbraid.items import Modality
from unbraid.progress import track

TEXTS: tuple[Modality, ...] = ("text", "code")
BLOCK = 4096  # items in a stored file: what an interruption costs


@dataclass(frozen=True)
class EncodedItems:
    """`targets` float16 [n, D] are the base vectors of `items`."""

    items: Sequence[TrainingItem]
    targets: np.ndarray


def encode_items(items: Sequence[TrainingItem], folder: Path, to_base: ToBase, made_by: str) -> EncodedItems:
    """Encode texts and code by `to_base`, which `made_by` names; blocks stored in `folder` are not encoded again."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for first in track(range(0, len(items), BLOCK), "encode items", unit="blocks"):
        block = items[first : first + BLOCK]
        digest = hashlib.sha256(made_by.encode())
        for item in block:
            digest.update(hashlib.sha256(f"{item.modality} {item.text}".encode()).digest())
        path = folder / f"{digest.hexdigest()[:16]}.npy"
        if not path.exists():
            found: dict[int, np.ndarray] = {}
            for modality in TEXTS:
                rows = [row for row, item in enumerate(block) if item.modality == modality]
                if rows:
                    base = to_base([block[row].text for row in rows], modality).numpy()
                    found |= zip(rows, base, strict=True)
            with atomic_file(path) as unfinished, unfinished.open("wb") as file:
                np.save(file, np.stack([found[row] for row in range(len(block))]).astype(np.float16))
        parts.append(np.load(path))
    return EncodedItems(items, np.concatenate(parts))


def stored(to_base: ToBase, folder: Path, made_by: str) -> ToBase:
    """`to_base`, which `made_by` names, with what it gave kept in `folder`: an interrupted stage encodes nothing twice.

    Vectors are rounded to float16.
    """

    def encode(texts: list[str], modality: Modality) -> Tensor:
        items = [TrainingItem(text, modality) for text in texts]
        return torch.from_numpy(encode_items(items, folder, to_base, made_by).targets.astype(np.float32))

    return encode
