"""Train the nano tier: a static encoder that ends in the base space of the text student, on the same labels.

Read top to bottom: labels -> targets -> closed form -> narrow table -> batches -> loss -> steps -> checkpoint.
The closed form does most of the work; training adds what it cannot see: that only directions count, and which
items are neighbours.
"""

import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch

from unbraid.base_encoders.static import StaticEncoder
from unbraid.base_encoders.text import token_embeddings
from unbraid.distill.data.text_set import TextSet, held_out_cosine, tensors, text_set, text_tokenizer
from unbraid.distill.fit_static import factorise, prior_rows, ridge, token_shares
from unbraid.distill.labels.label_store import read_shards
from unbraid.distill.recipe import Recipe, StaticTraining
from unbraid.distill.space.base_space import load_base_space
from unbraid.errors import DataError
from unbraid.progress import track
from unbraid.training.checkpoint import load_checkpoint, save_checkpoint
from unbraid.training.losses import student_loss
from unbraid.training.record import write_record
from unbraid.training.schedule import learning_rate_factor

STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.3)  # of the ridge regression, one is chosen on the held-out items
CHOSEN_ON = 64  # dimensions; all 512 choose the same strength and take eight times as long
SAVE_EVERY = 200  # steps between resumable checkpoints


def train_static(recipe: Recipe, labels: Path, run: Path, *, backbone: Path) -> StaticEncoder:
    """Train the nano tier of `recipe` on the shards in `labels`; everything it makes goes to run/nano.

    `backbone` is the folder of the pre-trained encoder and its tokenizer: its token embeddings are what rare tokens
    lean on. Reads run/base_space.safetensors. Interrupted training goes on from its last checkpoint and ends where
    it would have ended. Raises DataError for a recipe without [nano], a run without a base space and fewer than
    ten items.
    """
    config = recipe.nano
    if config is None:
        raise DataError(f"recipe {recipe.name} has no [nano]")
    if not (run / "base_space.safetensors").exists():
        raise DataError(
            f"{run / 'base_space.safetensors'}: not found: the nano tier needs the run's base space"
        )
    torch.manual_seed(recipe.seed)
    tokenizer = text_tokenizer(backbone / "tokenizer.json", recipe.text.max_tokens)
    space = load_base_space(run / "base_space.safetensors")
    data = text_set(list(read_shards(labels)), space, tokenizer, recipe.text.code_anchor)
    if not data.held_out:
        raise DataError(f"{labels}: {len(data.ids)} labelled items, at least 10 are needed")
    encoder, strength = closed_form(data, token_embeddings(backbone).numpy(), config.width)
    before = held_out_cosine(encoder, data)
    curves = _fit(encoder, data, config, recipe.seed, run / "nano.checkpoint.pt")
    encoder.save(run / "nano")
    tokenizer.save(str(run / "nano" / "tokenizer.json"))
    results = {"items": len(data.ids), "ridge": strength, "held-out cosine of the closed form": before}
    write_record(run / "nano", recipe, curves, {**results, "held-out cosine": held_out_cosine(encoder, data)})
    (run / "nano.checkpoint.pt").unlink(missing_ok=True)
    return encoder


def closed_form(data: TextSet, embeddings: np.ndarray, width: int) -> tuple[StaticEncoder, float]:
    """The best encoder of `width` without training, and the strength of its regularisation.

    `embeddings` float32 [V, E] are the backbone's.
    """
    shares = token_shares(data.ids, len(embeddings))
    held, fitted = shares[: data.held_out], shares[data.held_out :]
    held_targets, targets = data.targets[: data.held_out], data.targets[data.held_out :]
    prior = prior_rows(embeddings, fitted, targets)

    def held_out(strength: float) -> float:
        rows = ridge(fitted, targets[:, :CHOSEN_ON], prior[:, :CHOSEN_ON], strength=strength)
        found, expected = held @ rows, held_targets[:, :CHOSEN_ON].astype(np.float32)
        lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
        return float(((found * expected).sum(1) / np.maximum(lengths, 1e-12)).mean())

    strength = max(STRENGTHS, key=held_out)
    rows = ridge(fitted, targets, prior, strength=strength)
    squared = np.asarray(fitted.multiply(fitted).sum(0)).ravel()
    table, projection = factorise(rows, squared + strength, width)
    return StaticEncoder(torch.from_numpy(table), torch.from_numpy(projection)), strength


def _batches(data: TextSet, config: StaticTraining, seed: int) -> Iterator[list[int]]:
    """Batches of rows for all epochs, each a shuffle of every item but the held-out ones."""
    for epoch in range(config.epochs):
        order = list(range(data.held_out, len(data.ids)))
        random.Random(seed * 1000 + epoch).shuffle(order)
        yield from (order[start : start + config.batch] for start in range(0, len(order), config.batch))


def _fit(
    encoder: StaticEncoder, data: TextSet, config: StaticTraining, seed: int, checkpoint: Path
) -> dict[str, list[float]]:
    """Train in place; returns the curves."""
    batches = list(_batches(data, config, seed))
    optimizer = torch.optim.AdamW(
        [
            {"params": [encoder.table], "lr": config.learning_rate},
            {"params": encoder.projection.parameters(), "lr": config.projection_learning_rate},
        ],
        weight_decay=0.0,
    )
    rate = partial(learning_rate_factor, ends=[len(batches)], warmup=config.warmup)
    scale = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    curves: dict[str, list[float]] = {"loss": [], "held-out cosine": []}
    first = 0
    settings = (config, seed, len(data.ids))
    if checkpoint.exists():
        curves, first = load_checkpoint(checkpoint, encoder, optimizer, scale, settings=settings)
    for step, rows in enumerate(track(batches[first:], "train nano", unit="steps"), first):
        ids, mask, target = tensors(data, rows)
        student = encoder(ids, mask)
        loss = student_loss(student, target, prefix_weight=config.prefix_weight, kl_weight=config.kl_weight)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scale.step()
        curves["loss"].append(loss.item())
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == len(batches):
            curves["held-out cosine"].append(held_out_cosine(encoder, data))
            save_checkpoint(
                checkpoint, encoder, optimizer, scale, settings=settings, curves=curves, done=step + 1
            )
    return curves
