"""What one step of a tower's training sees: which pictures, how they are varied, and their captions."""

import math
import random

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torch import Tensor

from unbraid.distill.data.captioned_pictures import DRAWN, Picture
from unbraid.distill.data.captions import Captions
from unbraid.distill.recipe import ImageTraining
from unbraid.errors import DataError


def epoch_batches(pictures: list[Picture], config: ImageTraining, seed: int) -> list[list[int]]:
    """The batches of all epochs, rows of `pictures`; each epoch is shuffled and has as many batches as the others.

    Raises DataError when there are fewer training pictures than one batch takes.
    """
    epochs = [epoch_rows(pictures, config.epoch_drawings, epoch) for epoch in range(config.epochs)]
    fewest = min(map(len, epochs))
    if fewest < config.batch:
        raise DataError(f"{fewest} training pictures, a batch takes {config.batch}: lower image.batch")
    batches = []
    for epoch, rows in enumerate(epochs):
        order = random.Random(seed * 1000 + epoch).sample(rows, len(rows))
        last = fewest - fewest % config.batch
        batches += [order[start : start + config.batch] for start in range(0, last, config.batch)]
    return batches


def epoch_rows(pictures: list[Picture], drawings: int, epoch: int) -> list[int]:
    """Rows of the training pictures of an epoch: all photographs, and the next `drawings` drawings (all if 0)."""
    train = [row for row, picture in enumerate(pictures) if not (picture.dev or picture.kind)]
    real = [row for row in train if pictures[row].source != DRAWN]
    made = [row for row in train if pictures[row].source == DRAWN]
    if not 0 < drawings < len(made):
        return real + made
    return real + [made[(epoch * drawings + number) % len(made)] for number in range(drawings)]


def batch_captions(captions: Captions, batch: list[int]) -> tuple[Tensor, Tensor]:
    """Rows [M] of the distinct captions of a batch, and the share [B, M] of each among its picture's captions."""
    own = [captions.of_picture[row] for row in batch]
    rows = list(dict.fromkeys(number for numbers in own for number in numbers))
    place = {number: column for column, number in enumerate(rows)}
    owner = torch.zeros(len(batch), len(rows))
    for one, numbers in enumerate(own):
        owner[one, [place[number] for number in numbers]] = 1 / len(numbers)
    return torch.tensor(rows), owner


def mixed(values: Tensor, share: float) -> Tensor:
    """Each row of values [B, ...] mixed with the next one (the last with the first): `share` of it, 1 - share of the next.

    Mixup (Zhang et al. 2018): a shuffled batch makes the next row a random one. Pictures and targets are mixed alike.
    """
    return share * values + (1 - share) * values.roll(-1, 0)


def augment(pixels: np.ndarray, rng: random.Random, source: str) -> Image.Image:
    """A random crop, brightness and colour of a picture from `source`; photographs are also mirrored, some made grey.

    The captions of a drawing name everything on it, so little is cut off. A photograph may be cut much more.
    """
    photo = "photos" in source
    smallest = 0.35 if photo else 0.85 if source == DRAWN else 0.6
    height, width = pixels.shape[:2]
    side = math.sqrt(rng.uniform(smallest, 1.0))
    stretch = math.exp(rng.uniform(-0.2, 0.2) if photo else rng.uniform(-0.06, 0.06))
    w, h = min(width, int(width * side * stretch) + 1), min(height, int(height * side / stretch) + 1)
    x, y = rng.randint(0, width - w), rng.randint(0, height - h)
    image = Image.fromarray(pixels[y : y + h, x : x + w])
    if photo and rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if photo and rng.random() < 0.1:
        image = image.convert("L").convert("RGB")
    if rng.random() < 0.5:
        image = ImageEnhance.Brightness(image).enhance(rng.uniform(0.7, 1.3))
        image = ImageEnhance.Color(image).enhance(rng.uniform(0.5, 1.4))
    return image
