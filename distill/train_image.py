"""Train the image tower against the base vectors of captions. The text side is frozen: only its vectors are used.

The target of a picture is the mean of its captions' base vectors; a recipe can mix in the teacher's own vector of the
picture. A contrastive loss is added: each picture against its captions, with other captions as negatives. Those are
vectors in memory, so thousands of them cost little. The loss of a batch is `_loss`.
"""

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torch import Tensor
from torch.nn.functional import normalize

from unbraid.base_encoders.image_encoder import ImageEncoder, start_image_encoder, tower_preprocess
from unbraid.base_encoders.tower_name import read_tower_name
from unbraid.distill.data.captioned_pictures import DRAWN, Picture, recipe_pictures
from unbraid.distill.data.captions import Captions, caption_vectors, labelled_captions
from unbraid.distill.recipe import ImageTraining, Recipe
from unbraid.distill.space.base_space import load_base_space
from unbraid.distill.space.task_space import DIM
from unbraid.errors import DataError
from unbraid.progress import track
from unbraid.runtime.preprocess import ImagePreprocess
from unbraid.teacher import Teacher
from unbraid.training.checkpoint import Curves
from unbraid.training.loop import train
from unbraid.training.losses import caption_nce, cosine_loss, cross_score_kl
from unbraid.training.record import write_record

BATCH = 64  # pictures encoded at a time without training


def train_image(recipe: Recipe, data: Path, run: Path, teacher: Callable[[], Teacher]) -> ImageEncoder:
    """Train the tower of `recipe`; reads run/base_space.safetensors and run/labels, writes run/image/.

    `teacher` loads the labels' teacher, which labels missing captions into run/captions. Interrupted training resumes
    from its last finished epoch and ends with the same weights. Raises DataError when there are fewer training pictures
    than one batch takes, KeyboardInterrupt when labelling captions was interrupted.
    """
    space = load_base_space(run / "base_space.safetensors")
    pictures = recipe_pictures(recipe.image, data)
    stored = labelled_captions(pictures, run, space, teacher)
    return fit_image(new_image_encoder(recipe), pictures, stored, recipe, run, captions_by=recipe.teacher)


def new_image_encoder(recipe: Recipe) -> ImageEncoder:
    """The tower of `recipe` before it is trained, from the recipe's seed or with published weights."""
    torch.manual_seed(recipe.seed)
    config = recipe.image
    preprocess = tower_preprocess(config.tower, config.size)
    published = read_tower_name(config.tower).published
    return start_image_encoder(config.tower, dim=DIM, preprocess=preprocess, published=published)


def fit_image(
    encoder: ImageEncoder,
    pictures: list[Picture],
    stored: Mapping[str, np.ndarray],
    recipe: Recipe,
    run: Path,
    *,
    captions_by: str,
) -> ImageEncoder:
    """Train `encoder` on `pictures` against the base vectors in `stored`, by key; writes run/image.

    `captions_by` names what made those vectors, for the record. Resumes from run/image.checkpoint.pt if it exists.
    Raises DataError when that has other vectors or settings, and for fewer training pictures than a batch takes.
    """
    captions = caption_vectors(pictures, stored, own=recipe.image.own_vector)
    curves = _fit(encoder, pictures, captions, recipe, run / "image.checkpoint.pt", captions_by)
    _remove_mean(encoder, pictures, captions)
    encoder.save(run / "image")
    results = dev_recall(encoder, pictures, captions)
    write_record(run / "image", recipe, curves, {**results, "captions by": captions_by})
    (run / "image.checkpoint.pt").unlink(missing_ok=True)
    return encoder


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


def _fit(
    encoder: ImageEncoder,
    pictures: list[Picture],
    captions: Captions,
    recipe: Recipe,
    checkpoint: Path,
    captions_by: str,
) -> Curves:
    """Train in place; returns the curves."""
    config = recipe.image
    batches = epoch_batches(pictures, config, recipe.seed)
    per_epoch = len(batches) // config.epochs
    encoder.to(memory_format=torch.channels_last)  # convolutions on a CPU then train 1.5 times as fast
    optimizer = torch.optim.AdamW(
        encoder.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )

    def gradients(step: int) -> float:
        early = step // per_epoch < config.epochs // 2
        preprocess = replace(encoder.preprocess, size=(early and config.first_size) or config.size)
        encoder.train()
        loss = _loss(encoder, pictures, captions, batches[step], preprocess, config, f"{recipe.seed} {step}")
        loss.backward()
        return loss.item()

    def measure(_: int) -> dict[str, float]:
        recalls = dev_recall(encoder, pictures, captions)
        return {"dev recall@10": float(np.mean(list(recalls.values())))}

    return train(
        "image",
        encoder,
        optimizer,
        gradients,
        ends=[len(batches)],
        warmup=config.warmup,
        measure=measure,
        measure_every=per_epoch,
        checkpoint=checkpoint,
        save_every=per_epoch,
        settings=(config, recipe.seed, len(pictures), captions_by),
    )


def _loss(
    encoder: ImageEncoder,
    pictures: list[Picture],
    captions: Captions,
    batch: list[int],
    preprocess: ImagePreprocess,
    config: ImageTraining,
    key: str,
) -> Tensor:
    """The loss of one batch, rows of `pictures`; `key` seeds its random choices."""
    rng = random.Random(key)
    seen = [augment(pictures[row].pixels, rng, pictures[row].source) for row in batch]
    pixels = torch.from_numpy(np.stack([preprocess(image) for image in seen]))
    rows, owner = batch_captions(captions, batch)
    queue = rng.choices(range(len(captions.vectors)), k=config.queue)
    target = captions.targets[batch]
    if config.mixup:
        share = rng.betavariate(config.mixup, config.mixup)
        pixels, target, owner = (mixed(values, share) for values in (pixels, target, owner))
        target = normalize(target, dim=-1)
    image = encoder.raw(pixels.contiguous(memory_format=torch.channels_last))
    loss = cosine_loss(image, target) + config.contrastive_weight * caption_nce(
        image, captions.vectors[rows], owner, captions.vectors[queue], config.temperature
    )
    if config.neighbour_weight:
        loss = loss + config.neighbour_weight * cross_score_kl(image, target, config.temperature)
    return loss


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
    real = [row for row, picture in enumerate(pictures) if not picture.dev and picture.source != DRAWN]
    made = [row for row, picture in enumerate(pictures) if not picture.dev and picture.source == DRAWN]
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


@torch.inference_mode()
def _raw_vectors(encoder: ImageEncoder, pictures: list[Picture]) -> Tensor:
    """Vectors of `pictures` before the mean is removed: [n, 512]."""
    encoder.eval()
    vectors = []
    for start in range(0, len(pictures), BATCH):
        pixels = [encoder.preprocess(Image.fromarray(p.pixels)) for p in pictures[start : start + BATCH]]
        vectors.append(encoder.raw(torch.from_numpy(np.stack(pixels))))
    return torch.cat(vectors)


def _remove_mean(encoder: ImageEncoder, pictures: list[Picture], captions: Captions) -> None:
    """Set the encoder's mean so that the training pictures have the mean vector of their captions."""
    train = [row for row, picture in enumerate(pictures) if not picture.dev]
    batches = [train[start : start + BATCH] for start in range(0, len(train), BATCH)]
    total = torch.zeros(DIM)
    for batch in track(batches, "mean vector", unit="batches"):
        total += _raw_vectors(encoder, [pictures[row] for row in batch]).sum(0)
    encoder.mean.copy_(total / len(train) - captions.targets[train].mean(0))


@torch.inference_mode()
def dev_recall(encoder: ImageEncoder, pictures: list[Picture], captions: Captions) -> dict[str, float]:
    """Recall@10 of first caption -> picture among the dev pictures, for photographs, graphics and drawings."""
    results = {}
    for kind in ("photos", "graphics", "drawings"):
        dev = [row for row, picture in enumerate(pictures) if picture.dev and kind in picture.source]
        if not dev:
            continue
        image = normalize(_raw_vectors(encoder, [pictures[row] for row in dev]) - encoder.mean, dim=-1)
        query = captions.vectors[
            torch.tensor([captions.of_picture[row][-1 if kind == "drawings" else 0] for row in dev])
        ]
        scores = query @ image.T
        rank = (scores > scores.diagonal()[:, None]).sum(1)
        results[f"{kind} ({len(dev)})"] = float((rank < 10).float().mean())
    return results
