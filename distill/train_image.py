"""Stage 3: train the image tower against its captions' base vectors. The text side is frozen: vectors only.

Target of a picture: the mean of its captions' base vectors. Beside it a contrastive loss to one caption, with
captions of other pictures as negatives; those are vectors in memory, so thousands cost nothing.
"""

import io
import math
import random
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from unbraid.base_encoders.image import ImageEncoder, start_image_encoder
from unbraid.distill.base_space import DIM, BaseSpace, load_base_space
from unbraid.distill.recipe import Recipe
from unbraid.drawings import draw
from unbraid.errors import DataError
from unbraid.image import ImagePreprocess, decode
from unbraid.progress import track
from unbraid.teacher import Teacher
from unbraid.training.checkpoint import load_checkpoint, save_checkpoint
from unbraid.training.losses import cosine_loss
from unbraid.training.record import write_record
from unbraid.training.rows import is_dev, rows

KEPT_PIXELS = 160  # longer side of the copies kept in memory
SAME_CAPTION = 0.9  # a negative caption this close to the positive one is not a negative
DEV_DRAWINGS = 300  # drawings of seeds that training never uses


@dataclass(frozen=True)
class Picture:
    """A picture in memory (uint8 [H, W, 3], longer side 160), its captions, and where it comes from."""

    pixels: np.ndarray
    captions: tuple[str, ...]
    source: str
    dev: bool


@dataclass(frozen=True)
class Captions:
    """All captions as base vectors float32 [n, 512] with the picture of each, and each picture's mean target."""

    vectors: Tensor
    of_picture: list[list[int]]  # rows of `vectors`, for each picture
    targets: Tensor  # [pictures, 512], unit length


def train_image(recipe: Recipe, data: Path, run: Path, teacher: Teacher) -> ImageEncoder:
    """Train the tower of `recipe`; reads run/base_space.safetensors, writes run/image/.

    Interrupted training goes on from its last finished epoch and ends where it would have ended. Raises
    DataError when there are fewer training pictures than one batch takes.
    """
    torch.manual_seed(recipe.seed)
    config = recipe.image
    space = load_base_space(run / "base_space.safetensors")
    pictures = list(photographs(data, config.photos)) + list(drawn(config.drawings))
    captions = caption_vectors(pictures, teacher, space)
    preprocess = ImagePreprocess(config.size, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    encoder = start_image_encoder(config.tower, dim=DIM, preprocess=preprocess)
    curves = _fit(encoder, pictures, captions, recipe, run / "image.checkpoint.pt")
    _remove_mean(encoder, pictures, captions)
    encoder.save(run / "image")
    results = dev_recall(encoder, pictures, captions)
    write_record(run / "image", recipe, curves, results)
    (run / "image.checkpoint.pt").unlink(missing_ok=True)
    return encoder


def photographs(data: Path, names: tuple[str, ...]) -> Iterator[Picture]:
    """Pictures of NAME.tar with the captions in NAME.jsonl.gz, for each of `names` below `data`."""
    for name in names:
        about = {row["file"]: row for row in rows(data / f"{name}.jsonl.gz")}
        try:
            with tarfile.open(data / f"{name}.tar") as archive:
                for member in track(archive.getmembers(), name, unit="pictures"):
                    row, file = about.get(member.name), archive.extractfile(member)
                    if row is None or file is None:
                        continue
                    texts = (str(row.get(field) or "").strip() for field in ("caption", "alt", "title"))
                    captions = tuple(dict.fromkeys(text for text in texts if len(text) >= 12))
                    if captions:
                        yield Picture(
                            _small(Image.open(io.BytesIO(file.read()))), captions, name, is_dev(row)
                        )
        except (OSError, tarfile.TarError) as error:
            raise DataError(f"{data / name}.tar: cannot be read: {error}") from error


def drawn(count: int) -> Iterator[Picture]:
    """`count` drawings for training and a few of other seeds for the dev score."""
    for seed in track(range(-DEV_DRAWINGS, count), "draw", unit="pictures"):
        drawing = draw(seed if seed >= 0 else 1_000_000 - seed)
        yield Picture(_small(drawing.image), drawing.captions, "drawings", seed < 0)


def caption_vectors(pictures: list[Picture], teacher: Teacher, space: BaseSpace) -> Captions:
    """Base vectors of every distinct caption, by the teacher and the base space that text was trained on."""
    distinct = list(dict.fromkeys(caption for picture in pictures for caption in picture.captions))
    task_of_route = {route: task for task, route in teacher.routes.items()}
    vectors = {route: teacher.encode(distinct, task) for route, task in task_of_route.items()}
    base = torch.from_numpy(space.project(vectors))
    number = {caption: row for row, caption in enumerate(distinct)}
    of_picture = [[number[caption] for caption in picture.captions] for picture in pictures]
    targets = torch.stack([normalize(base[numbers].mean(0), dim=0) for numbers in of_picture])
    return Captions(base, of_picture, targets)


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


def _small(image: Image.Image) -> np.ndarray:
    small = decode(image).copy()
    small.thumbnail((KEPT_PIXELS, KEPT_PIXELS), Image.Resampling.BICUBIC)
    return np.asarray(small)


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
        encoder.train()
        for step in track(range(per_epoch), f"train image {epoch + 1}/{config.epochs}", unit="steps"):
            batch = order[step * config.batch : (step + 1) * config.batch]
            pixels = torch.stack(
                [
                    torch.from_numpy(
                        encoder.preprocess(
                            augment(pictures[row].pixels, rng, photo="photos" in pictures[row].source)
                        )
                    )
                    for row in batch
                ]
            )
            chosen = torch.tensor([rng.choice(captions.of_picture[row]) for row in batch])
            others = torch.randint(len(captions.vectors), (config.queue,), generator=generator)
            image = encoder.raw(pixels)
            loss = cosine_loss(image, captions.targets[batch]) + config.contrastive_weight * caption_nce(
                image, captions.vectors[chosen], captions.vectors[others], config.temperature
            )
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
