"""Train the text student (text and code) on stored teacher vectors.

Labels -> base space -> targets -> first projection -> batches -> loss. The targets are base vectors. The projection
starts from a ridge regression, so that the student is near its targets before any training.
"""

import random
from collections.abc import Iterator
from pathlib import Path

import torch

from unbraid.base_encoders.prune_feed_forward import narrow_feed_forward
from unbraid.base_encoders.text_encoder import TextEncoder, start_text_encoder
from unbraid.distill.data.text_set import TextSet, held_out_cosine, tensors, text_set, text_tokenizer
from unbraid.distill.labels.label_store import read_shards
from unbraid.distill.recipe import Recipe, TextTraining
from unbraid.distill.recipe_models import torch_dtype
from unbraid.distill.space.fit_space import fit_space
from unbraid.errors import DataError
from unbraid.ridge import ridge
from unbraid.runtime.batching import token_budget_batches
from unbraid.training.checkpoint import Curves
from unbraid.training.loop import train
from unbraid.training.losses import student_loss
from unbraid.training.record import write_record

POOL = 4096  # items that are sorted by length together
LARGEST_BATCH = 128
SAVE_EVERY = 500  # steps between resumable checkpoints
START_ITEMS = 4096  # items that the first projection is fitted to
START_RIDGE = 1e-2  # ridge penalty of that projection, times the items and the mean square of a pooled number


def train_text(recipe: Recipe, labels: Path, run: Path, *, backbone: Path) -> TextEncoder:
    """Train the student of `recipe` on the label store `labels`; returns the encoder.

    `backbone` is the folder of the pre-trained encoder and its tokenizer. Writes run/base_space.safetensors and
    run/text (encoder, tokenizer.json, record). Interrupted training resumes from its last checkpoint and ends with
    the same weights. Raises DataError for fewer than ten items.
    """
    run.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    shards = list(read_shards(labels))
    space = fit_space(labels, run, seed=recipe.seed)
    tokenizer = text_tokenizer(backbone / "tokenizer.json", recipe.text.max_tokens)
    data = text_set(shards, space, tokenizer, recipe.text.code_anchor)
    if not data.held_out:
        raise DataError(f"{labels}: {len(data.ids)} labelled items, at least 10 are needed")
    encoder = _start(recipe.text, backbone, data)
    curves = _fit(encoder, data, recipe, run / "text.checkpoint.pt")
    encoder.save(run / "text")
    tokenizer.save(str(run / "text" / "tokenizer.json"))
    write_record(run / "text", recipe, curves, {"items": len(data.ids), "energy kept by base": space.kept})
    (run / "text.checkpoint.pt").unlink(missing_ok=True)
    return encoder


def _start(config: TextTraining, backbone: Path, data: TextSet) -> TextEncoder:
    """The untrained student: the layers and neurons of the backbone that the recipe keeps, and a first projection.

    The projection is the ridge regression from pooled vectors to the base targets of some training items.
    """
    rows = list(range(data.held_out, min(len(data.ids), data.held_out + START_ITEMS)))
    parts = [
        tensors(data, [rows[i] for i in part])
        for part in token_budget_batches([len(data.ids[row]) for row in rows], budget=config.batch_tokens)
    ]
    encoder = start_text_encoder(backbone, data.targets.shape[1], layers=config.layers).eval()
    if config.feed_forward:
        ids, mask, _ = parts[len(parts) // 2]
        narrow_feed_forward(encoder.backbone, config.feed_forward, ids, mask)
    with torch.no_grad():
        pooled = torch.cat([encoder.pooled(ids, mask) for ids, mask, _ in parts])
        target = torch.cat([target for _, _, target in parts])
        penalty = START_RIDGE * float(pooled.square().mean()) * len(pooled)
        encoder.projection.weight.copy_(torch.from_numpy(ridge(pooled.numpy(), target.numpy(), penalty)))
    return encoder


def epoch_batches(data: TextSet, recipe: Recipe, epoch: int) -> Iterator[list[int]]:
    """Batches of rows for one epoch: shuffled, sorted by length within pools, shuffled again."""
    rng = random.Random(recipe.seed * 1000 + epoch)
    order = list(range(data.held_out, len(data.ids)))
    rng.shuffle(order)
    for start in range(0, len(order), POOL):
        pool = order[start : start + POOL]
        batches = token_budget_batches([len(data.ids[row]) for row in pool], budget=recipe.text.batch_tokens)
        parts = [
            batch[i : i + LARGEST_BATCH] for batch in batches for i in range(0, len(batch), LARGEST_BATCH)
        ]
        rng.shuffle(parts)
        yield from ([pool[i] for i in part] for part in parts)


def _fit(encoder: TextEncoder, data: TextSet, recipe: Recipe, checkpoint: Path) -> Curves:
    """Train in place; returns the curves."""
    config = recipe.text
    epochs = [list(epoch_batches(data, recipe, epoch)) for epoch in range(sum(config.epochs))]
    batches = [batch for epoch in epochs for batch in epoch]
    ends = [sum(map(len, epochs[: sum(config.epochs[:cycle])])) for cycle in range(1, len(config.epochs) + 1)]
    optimizer = torch.optim.AdamW(
        [
            {"params": encoder.backbone.parameters(), "lr": config.learning_rate},
            {"params": encoder.projection.parameters(), "lr": config.projection_learning_rate},
        ],
        weight_decay=0.01,
    )
    dtype = torch_dtype(recipe)
    encoder.eval()  # no dropout: a target is exact, and noise in the student only delays it

    def gradients(step: int) -> float:
        ids, mask, target = tensors(data, batches[step])
        with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
            student = encoder(ids, mask)
        loss = student_loss(
            student.float(), target, prefix_weight=config.prefix_weight, kl_weight=config.kl_weight
        )
        loss.backward()
        return loss.item()

    return train(
        "text",
        encoder,
        optimizer,
        gradients,
        ends=ends,
        warmup=config.warmup,
        measure=lambda _: {"held-out cosine": held_out_cosine(encoder, data)},
        measure_every=SAVE_EVERY,
        checkpoint=checkpoint,
        save_every=SAVE_EVERY,
        settings=(config, recipe.seed, len(data.ids)),
    )
