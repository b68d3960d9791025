"""Train the image tower against the base vectors of captions. The text side is frozen: only its vectors are used.

The target of a picture is the mean of its captions' base vectors; a recipe can mix in the teacher's own vector of the
picture. A contrastive loss is added: each picture against its captions, with other captions as negatives. Those are
vectors in memory, so thousands of them cost little. The loss of a batch is `_loss`.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from unbraid.base_encoders.image_encoder import ImageEncoder, start_image_encoder, tower_preprocess
from unbraid.base_encoders.sample_pictures import save_samples
from unbraid.base_encoders.tower_name import read_tower_name
from unbraid.distill.data.captioned_pictures import DRAWN, UNSEEN, Picture, recipe_pictures
from unbraid.distill.data.captions import Captions, caption_vectors, labelled_captions
from unbraid.distill.data.student_captions import student_captions
from unbraid.distill.image_batches import augment, batch_captions, epoch_batches, mixed
from unbraid.distill.recipe import ImageTraining, Recipe
from unbraid.distill.space.base_space import load_base_space
from unbraid.distill.space.task_space import DIM
from unbraid.distill.tower_parts import freeze, network_output, tower_optimizer
from unbraid.distill.train_drawings import train_drawings
from unbraid.ridge import ridge
from unbraid.runtime.preprocess import ImagePreprocess
from unbraid.teacher import Teacher
from unbraid.training.checkpoint import Curves
from unbraid.training.loop import train
from unbraid.training.losses import caption_nce, cosine_loss, cross_score_kl
from unbraid.training.record import write_record

# Of the ridge regression that starts a published tower's projection: training pictures it is fitted to, and its
# penalty, times the pictures and the variance of a feature.
START_PICTURES = 12_000
START_RIDGE = 0.1
SAMPLES = 96  # training pictures kept beside the tower, for its export


def train_image(recipe: Recipe, data: Path, run: Path, teacher: Callable[[], Teacher]) -> ImageEncoder:
    """Train the tower of `recipe`; reads run/base_space.safetensors and run/labels, writes run/image/.

    `teacher` loads the labels' teacher, which labels missing captions into run/captions; with a joined teacher the
    run's finished tiers encode them. Interrupted training resumes from its last finished epoch and ends with the same
    weights. Raises DataError when there are fewer training pictures
    than one batch takes, KeyboardInterrupt when labelling captions was interrupted.
    """
    pictures = recipe_pictures(recipe.image, data)
    if recipe.members:
        stored, captions_by = student_captions(pictures, recipe, run), "the run's own tiers"
    else:
        space = load_base_space(run / "base_space.safetensors")
        stored, captions_by = labelled_captions(pictures, run, space, teacher), recipe.teacher
    return fit_image(new_image_encoder(recipe), pictures, stored, recipe, run, captions_by=captions_by)


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
    checkpoint = run / "image.checkpoint.pt"
    if read_tower_name(encoder.name).published and not checkpoint.exists():
        _fit_projection(encoder, pictures, captions)
    curves = _fit(encoder, pictures, captions, recipe, checkpoint, captions_by)
    encoder.preprocess = replace(encoder.preprocess, size=recipe.image.used_size or recipe.image.size)
    _remove_mean(encoder, pictures, captions)
    second = run / "image.second.checkpoint.pt"
    if recipe.image.second:
        curves |= train_drawings(encoder, pictures, captions, recipe, second, measure=dev_recall)
        _remove_mean(encoder, pictures, captions)
    encoder.save(run / "image")
    save_samples(run / "image", _samples(pictures, recipe.seed))
    results = dev_recall(encoder, pictures, captions)
    write_record(run / "image", recipe, curves, {**results, "captions by": captions_by})
    checkpoint.unlink(missing_ok=True)
    second.unlink(missing_ok=True)
    return encoder


def _samples(pictures: list[Picture], seed: int) -> list[np.ndarray]:
    """Some training pictures, half of them drawings where there are any."""
    train = [picture for picture in pictures if not picture.dev]
    groups = [[one.pixels for one in train if (one.source == DRAWN) is drawn] for drawn in (False, True)]
    rng = random.Random(seed)
    chosen = [pixels for group in groups for pixels in rng.sample(group, min(len(group), SAMPLES // 2))]
    return rng.sample(chosen, len(chosen))


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
    published = read_tower_name(encoder.name).published
    encoder.to(memory_format=torch.channels_last)  # convolutions on a CPU then train 1.5 times as fast
    freeze(encoder, config.frozen)
    projection_rate = config.projection_learning_rate or config.learning_rate
    optimizer = tower_optimizer(encoder, config.learning_rate, projection_rate, config.weight_decay)
    average = (
        AveragedModel(encoder, multi_avg_fn=get_ema_multi_avg_fn(config.average)) if config.average else None
    )
    kept: ImageEncoder = average.module if average else encoder

    def gradients(step: int) -> float:
        early = step // per_epoch < config.epochs // 2
        preprocess = replace(encoder.preprocess, size=(early and config.first_size) or config.size)
        encoder.train(not published)
        loss = _loss(encoder, pictures, captions, batches[step], preprocess, config, f"{recipe.seed} {step}")
        loss.backward()
        return loss.item()

    def measure(_: int) -> dict[str, float]:
        recalls = dev_recall(kept, pictures, captions)
        return {"dev recall@10": float(np.mean(list(recalls.values())))}

    curves = train(
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
        average=average,
    )
    encoder.load_state_dict(kept.state_dict())
    return curves


@torch.inference_mode()
def _fit_projection(encoder: ImageEncoder, pictures: list[Picture], captions: Captions) -> None:
    """Start the projection of a published tower: the ridge regression from its features to the targets."""
    train = [row for row, picture in enumerate(pictures) if not (picture.dev or picture.kind)]
    rows = train[:: len(train) // START_PICTURES + 1]
    encoder.eval()
    features = network_output([pictures[row] for row in rows], encoder.preprocess, encoder.tower)
    target = captions.targets[rows]
    mean, middle = features.mean(0), target.mean(0)
    penalty = START_RIDGE * float(features.var()) * len(rows)
    weight = torch.from_numpy(ridge((features - mean).numpy(), (target - middle).numpy(), penalty)).float()
    encoder.projection.weight.copy_(weight)
    encoder.projection.bias.copy_(middle - weight @ mean)


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


@torch.inference_mode()
def _raw_vectors(encoder: ImageEncoder, pictures: list[Picture], *, shown: bool | None = False) -> Tensor:
    """Vectors of `pictures` before the mean is removed: [n, 512]."""
    encoder.eval()
    return network_output(pictures, encoder.preprocess, encoder.raw, shown=shown)


def _remove_mean(encoder: ImageEncoder, pictures: list[Picture], captions: Captions) -> None:
    """Set the encoder's mean so that the training pictures have the mean vector of their captions."""
    train = [row for row, picture in enumerate(pictures) if not (picture.dev or picture.kind)]
    mean = _raw_vectors(encoder, [pictures[row] for row in train], shown=None).mean(0)
    encoder.mean.copy_(mean - captions.targets[train].mean(0))


@torch.inference_mode()
def dev_recall(encoder: ImageEncoder, pictures: list[Picture], captions: Captions) -> dict[str, float]:
    """Recall@10 of first caption -> picture among the dev pictures: photographs, graphics, drawings, each unseen file."""
    groups: dict[str, list[int]] = {}
    for row, picture in enumerate(pictures):
        if picture.dev and (group := _group(picture.source)):
            groups.setdefault(group, []).append(row)
    results = {}
    for group, dev in groups.items():
        image = normalize(_raw_vectors(encoder, [pictures[row] for row in dev]) - encoder.mean, dim=-1)
        asked = -1 if group == DRAWN else 0
        query = captions.vectors[torch.tensor([captions.of_picture[row][asked] for row in dev])]
        scores = query @ image.T
        rank = (scores > scores.diagonal()[:, None]).sum(1)
        results[f"{group} ({len(dev)})"] = float((rank < 10).float().mean())
    return results


def _group(source: str) -> str:
    """What the dev pictures of `source` are counted among; "" for none."""
    if source.startswith(UNSEEN):
        return source
    return next((kind for kind in ("photos", "graphics", DRAWN) if kind in source), "")
