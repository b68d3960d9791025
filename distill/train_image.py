"""Train the image tower against its captions' base vectors. The text side is frozen: vectors only.

Target of a picture: the mean of its captions' base vectors, with a share of the teacher's own vector of the picture
where the recipe asks for it and the teacher reads pictures. Beside it a contrastive loss to one caption, with
captions of other pictures as negatives; those are vectors in memory, so thousands cost nothing.
"""

import math
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from unbraid.base_encoders.image import ImageEncoder, start_image_encoder, tower_preprocess
from unbraid.base_encoders.tower_name import read_tower_name
from unbraid.distill.base_space import load_base_space
from unbraid.distill.captions import Captions, caption_vectors, labelled_captions
from unbraid.distill.pictures import Picture, drawn, photographs
from unbraid.distill.recipe import Recipe
from unbraid.distill.task_space import DIM
from unbraid.errors import DataError
from unbraid.progress import track
from unbraid.teacher import Teacher
from unbraid.training.checkpoint import load_checkpoint, save_checkpoint
from unbraid.training.losses import cosine_loss, cross_score_kl
from unbraid.training.record import write_record

SAME_CAPTION = 0.9  # a negative caption this close to the positive one is not a negative


def train_image(recipe: Recipe, data: Path, run: Path, teacher: Callable[[], Teacher]) -> ImageEncoder:
    """Train the tower of `recipe`; reads run/base_space.safetensors and run/labels, writes run/image/.

    `teacher` loads the labels' teacher, which labels the captions that are not, in run/captions.
    Interrupted training goes on from its last finished epoch and ends where it would have ended. Raises DataError when
    there are fewer training pictures than one batch takes, KeyboardInterrupt when labelling captions was interrupted.
    """
    torch.manual_seed(recipe.seed)
    config = recipe.image
    space = load_base_space(run / "base_space.safetensors")
    pictures = list(photographs(data, config.photos))
    if config.drawings:
        pictures += drawn(config.drawings)
    stored = labelled_captions(pictures, run, space, teacher)
    captions = caption_vectors(pictures, stored, own=config.own_vector)
    preprocess = tower_preprocess(config.tower, config.size)
    published = read_tower_name(config.tower).published
    encoder = start_image_encoder(config.tower, dim=DIM, preprocess=preprocess, published=published)
    curves = _fit(encoder, pictures, captions, recipe, run / "image.checkpoint.pt")
    _remove_mean(encoder, pictures, captions)
    encoder.save(run / "image")
    results = dev_recall(encoder, pictures, captions)
    write_record(run / "image", recipe, curves, results)
    (run / "image.checkpoint.pt").unlink(missing_ok=True)
    return encoder


def augment(pixels: np.ndarray, rng: random.Random, *, photo: bool) -> Image.Image:
    """A random crop, brightness and contrast of a picture; photographs are also mirrored."""
    height, width = pixels.shape[:2]
    side = math.sqrt(rng.uniform(0.4 if photo else 0.75, 1.0))
    stretch = math.exp(rng.uniform(-0.2, 0.2))
    w, h = min(width, int(width * side * stretch) + 1), min(height, int(height * side / stretch) + 1)
    x, y = rng.randint(0, width - w), rng.randint(0, height - h)
    image = Image.fromarray(pixels[y : y + h, x : x + w])
    if photo and rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if rng.random() < 0.5:
        image = ImageEnhance.Brightness(image).enhance(rng.uniform(0.7, 1.3))
        image = ImageEnhance.Color(image).enhance(rng.uniform(0.5, 1.4))
    return image


def _fit(
    encoder: ImageEncoder, pictures: list[Picture], captions: Captions, recipe: Recipe, checkpoint: Path
) -> dict[str, list[float]]:
    """Train in place; returns the curves."""
    config = recipe.image
    train = [row for row, picture in enumerate(pictures) if not picture.dev]
    per_epoch = len(train) // config.batch
    if not per_epoch:
        raise DataError(f"{len(train)} training pictures, a batch takes {config.batch}: lower image.batch")
    steps = config.epochs * per_epoch
    warmup = max(1, int(config.warmup * steps))
    optimizer = torch.optim.AdamW(
        encoder.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    scale = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, 0.5 + 0.5 * math.cos(math.pi * step / steps))
    )
    curves: dict[str, list[float]] = {"loss": [], "dev recall@10": []}
    first = 0
    settings = (config, recipe.seed, len(pictures))
    if checkpoint.exists():
        curves, first = load_checkpoint(checkpoint, encoder, optimizer, scale, settings=settings)
    for epoch in range(first, config.epochs):
        rng = random.Random(recipe.seed * 1000 + epoch)
        generator = torch.Generator().manual_seed(recipe.seed * 1000 + epoch)
        order = rng.sample(train, len(train))
        early = epoch < config.epochs // 2
        preprocess = replace(encoder.preprocess, size=(early and config.first_size) or config.size)
        encoder.train()
        for step in track(range(per_epoch), f"train image {epoch + 1}/{config.epochs}", unit="steps"):
            batch = order[step * config.batch : (step + 1) * config.batch]
            seen = [
                augment(pictures[row].pixels, rng, photo="photos" in pictures[row].source) for row in batch
            ]
            pixels = torch.from_numpy(np.stack([preprocess(image) for image in seen]))
            chosen = captions.vectors[torch.tensor([rng.choice(captions.of_picture[row]) for row in batch])]
            others = captions.vectors[
                torch.randint(len(captions.vectors), (config.queue,), generator=generator)
            ]
            target = captions.targets[batch]
            if config.mixup:
                share = rng.betavariate(config.mixup, config.mixup)
                pixels, target, chosen = (mixed(values, share) for values in (pixels, target, chosen))
                target, chosen = normalize(target, dim=-1), normalize(chosen, dim=-1)
            image = encoder.raw(pixels)
            loss = cosine_loss(image, target)
            loss = loss + config.contrastive_weight * caption_nce(image, chosen, others, config.temperature)
            if config.neighbour_weight:
                near = cross_score_kl(image, target, config.temperature)
                loss = loss + config.neighbour_weight * near
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
            optimizer.step()
            scale.step()
            curves["loss"].append(loss.item())
        curves["dev recall@10"].append(float(np.mean(list(dev_recall(encoder, pictures, captions).values()))))
        save_checkpoint(
            checkpoint, encoder, optimizer, scale, settings=settings, curves=curves, done=epoch + 1
        )
    return curves


def caption_nce(image: Tensor, caption: Tensor, others: Tensor, temperature: float) -> Tensor:
    """InfoNCE of each picture to its caption against the batch's captions and a queue of other captions.

    Unit vectors: image and caption [B, D], others [Q, D]. Captions nearly equal to the positive one
    (cosine above 0.9) do not count as negatives.
    """
    bank = torch.cat([caption, others])
    scores = image @ bank.T / temperature
    same = caption @ bank.T > SAME_CAPTION
    same.fill_diagonal_(False)
    return cross_entropy(scores.masked_fill(same, -1e4), torch.arange(len(image)))


def mixed(values: Tensor, share: float) -> Tensor:
    """`share` of each row of values [B, ...] and the rest of the row after it, the last one's of the first.

    Mixup (Zhang et al. 2018) with neighbours in a shuffled batch: pictures and their targets are mixed alike.
    """
    return share * values + (1 - share) * values.roll(-1, 0)


@torch.inference_mode()
def _raw_vectors(encoder: ImageEncoder, pictures: list[Picture]) -> Tensor:
    """Vectors of `pictures` before the mean is removed: [n, 512]."""
    encoder.eval()
    vectors = []
    for start in range(0, len(pictures), 64):
        pixels = [encoder.preprocess(Image.fromarray(p.pixels)) for p in pictures[start : start + 64]]
        vectors.append(encoder.raw(torch.from_numpy(np.stack(pixels))))
    return torch.cat(vectors)


def _remove_mean(encoder: ImageEncoder, pictures: list[Picture], captions: Captions) -> None:
    """Set the encoder's mean so that training pictures are centred where their captions are."""
    train = [row for row, picture in enumerate(pictures) if not picture.dev]
    image_mean = _raw_vectors(encoder, [pictures[row] for row in train]).mean(0)
    encoder.mean.copy_(image_mean - captions.targets[train].mean(0))


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
