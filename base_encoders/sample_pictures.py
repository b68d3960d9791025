"""Some training pictures beside a trained tower: an export measures on them what the tower's activations look like."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unbraid.io.atomic import atomic_file
from unbraid.runtime.preprocess import ImagePreprocess

FILE = "samples.npz"


def save_samples(folder: Path, pictures: Sequence[NDArray[np.uint8]]) -> None:
    """Write pictures uint8 [H, W, 3], each of its own size."""
    with atomic_file(folder / FILE) as unfinished, unfinished.open("wb") as file:
        np.savez_compressed(file, *pictures)


def load_samples(folder: Path, preprocess: ImagePreprocess) -> NDArray[np.float32] | None:
    """The pictures as a tower takes them, float32 [n, 3, size, size]; None for a tower of before, which has none."""
    if not (folder / FILE).exists():
        return None
    with np.load(folder / FILE) as pictures:
        return np.stack([preprocess(Image.fromarray(pictures[name])) for name in pictures.files])
