"""The second stage of a tower's training: drawings of kinds that a search confuses.

Drawings of one kind differ by what is written on them. A batch has many of two kinds, so each has others of its kind as
negatives. Photographs and other real pictures of the batch are held where the first stage put them, which keeps what the
tower finds among pictures that nothing was trained on (docs/experiments.md).
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from unbraid.base_encoders.image_encoder import ImageEncoder
from unbraid.base_encoders.tower_name import read_tower_name
from unbraid.distill.data.captioned_pictures import DRAWN, Picture
from unbraid.distill.data.captions import Captions
from unbraid.distill.image_batches import augment, batch_captions
from unbraid.distill.recipe import DrawnKinds, Recipe
from unbraid.distill.tower_parts import freeze, network_output, tower_optimizer
from unbraid.errors import DataError
from unbraid.training.checkpoint import Curves
from unbraid.training.loop import train
from unbraid.training.losses import caption_nce, cosine_loss, cross_score_kl

# Of a batch: real pictures, drawings of any kind, and of each of two kinds.
REAL, ANY, OF_A_KIND = 20, 4, 20
MEASURE_EVERY = 200  # steps

Recall = Callable[[ImageEncoder, list[Picture], Captions], dict[str, float]]


def train_drawings(
    encoder: ImageEncoder,
    pictures: list[Picture],
    captions: Captions,
    recipe: Recipe,
    checkpoint: Path,
    *,
    measure: Recall,
) -> Curves:
    """Train in place, by `image.second` of `recipe`; returns the curves. Resumes from `checkpoint` if it exists."""
    image, config = recipe.image, recipe.image.second
    assert config
    rows = drawing_batches(pictures, config, recipe.seed)
    published = read_tower_name(encoder.name).published
    encoder.to(memory_format=torch.channels_last)
    freeze(encoder, image.frozen)
    real = sorted({row for batch in rows for row in batch[:REAL]})
    with torch.inference_mode():
        encoder.eval()
        vectors = network_output([pictures[row] for row in real], encoder.preprocess, encoder)
    held = dict(zip(real, vectors.clone(), strict=True))
    optimizer = tower_optimizer(
        encoder, config.learning_rate, config.projection_learning_rate, image.weight_decay
    )
    average = AveragedModel(encoder, multi_avg_fn=get_ema_multi_avg_fn(config.average))
    preprocess = replace(encoder.preprocess, size=image.size)

    def gradients(step: int) -> float:
        encoder.train(not published)
        rng = random.Random(f"{recipe.seed} second {step}")
        seen = [augment(pictures[row].pixels, rng, pictures[row].source) for row in rows[step]]
        pixels = torch.from_numpy(np.stack([preprocess(one) for one in seen]))
        found = encoder(pixels.contiguous(memory_format=torch.channels_last))
        queue = captions.vectors[rng.choices(range(len(captions.vectors)), k=image.queue)]
        loss = batch_loss(found, rows[step], captions, queue, held, config)
        loss.backward()
        return loss.item()

    curves = train(
        "image, second stage",
        encoder,
        optimizer,
        gradients,
        ends=[config.steps],
        warmup=config.warmup,
        measure=lambda _: {
            "second dev recall@10": float(np.mean([*measure(average.module, pictures, captions).values()]))
        },
        measure_every=MEASURE_EVERY,
        checkpoint=checkpoint,
        save_every=MEASURE_EVERY,
        settings=(image, recipe.seed, len(pictures)),
        average=average,
    )
    encoder.load_state_dict(average.module.state_dict())
    curves["second loss"] = curves.pop("loss")
    return curves


def batch_loss(
    found: Tensor,
    batch: Sequence[int],
    captions: Captions,
    queue: Tensor,
    held: Mapping[int, Tensor],
    config: DrawnKinds,
) -> Tensor:
    """The loss of the vectors `found` [B, D] of a batch, whose first REAL rows have a vector in `held`.

    Every picture is contrasted with captions, those of the batch and `queue` [Q, D]. Drawings are drawn towards their
    captions and as near to each other's as these are, real pictures towards what is held.
    """
    rows, owner = batch_captions(captions, list(batch))
    target = captions.targets[list(batch)]
    kept = torch.stack([held[row] for row in batch[:REAL]])
    drawn, wanted = found[REAL:], target[REAL:]
    contrast = caption_nce(found, captions.vectors[rows], owner, queue, config.temperature)
    near = cosine_loss(drawn, wanted) + config.neighbour_weight * cross_score_kl(
        drawn, wanted, config.temperature
    )
    return contrast + near + config.hold * cosine_loss(found[:REAL], kept)


def drawing_batches(pictures: Sequence[Picture], config: DrawnKinds, seed: int) -> list[list[int]]:
    """The batches of all steps, rows of `pictures`: REAL real ones first, ANY drawings, OF_A_KIND of each of two kinds.

    Two kinds are drawn by the numbers of their drawings. Every row of a group comes up once before one comes up again.
    Raises DataError for a group without pictures.
    """
    train = [row for row, picture in enumerate(pictures) if not picture.dev]
    real = _rounds([row for row in train if pictures[row].source != DRAWN], seed, "real")
    drawn = _rounds([row for row in train if pictures[row].source == DRAWN], seed, "drawn")
    of = {
        kind: _rounds([row for row in train if pictures[row].kind == kind], seed, kind)
        for kind in config.kinds
    }
    chosen = random.Random(f"{seed} kinds")
    batches = []
    for _ in range(config.steps):
        kinds = chosen.choices(list(config.kinds), weights=list(config.kinds.values()), k=2)
        batch = [next(real) for _ in range(REAL)] + [next(drawn) for _ in range(ANY)]
        batches.append(batch + [next(of[kind]) for kind in kinds for _ in range(OF_A_KIND)])
    return batches


def _rounds(rows: list[int], seed: int, what: str) -> Iterator[int]:
    """The rows in a random order, then in another, without end."""
    if not rows:
        raise DataError(f"image.second: no training pictures for {what}: name photos, drawings and kinds")
    rng = random.Random(f"{seed} {what}")
    while True:
        yield from rng.sample(rows, len(rows))
