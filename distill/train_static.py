"""Train the nano tier: a static encoder into the base space of the text student, on the same labels.

Labels -> targets -> closed form (static_closed_form.py) -> batches -> loss. The closed form does most of the work.
Training adds what it ignores: only directions count, and neighbours should stay neighbours.
"""

import math
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from unbraid.base_encoders.static_encoder import StaticEncoder
from unbraid.base_encoders.text_encoder import token_embeddings
from unbraid.bundle import SMALL
from unbraid.distill.data.encoded_items import EncodedItems
from unbraid.distill.data.text_set import TextSet, held_out_cosine, tensors, text_set, text_tokenizer
from unbraid.distill.labels.label_store import read_shards
from unbraid.distill.recipe import Recipe, StaticTraining
from unbraid.distill.space.base_space import load_base_space
from unbraid.distill.static_closed_form import factorize, fit_rows, prior_rows, token_shares
from unbraid.errors import DataError
from unbraid.runtime.code_text import split_identifiers
from unbraid.training.checkpoint import Curves
from unbraid.training.loop import train
from unbraid.training.losses import student_loss
from unbraid.training.record import write_record

STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.3)  # of the ridge regression, one is chosen on the held-out items
CHOSEN_ON = 64  # dimensions; all 512 choose the same strength and take eight times as long
SAVE_EVERY = 200  # steps between resumable checkpoints


def train_static(
    recipe: Recipe, labels: Path, run: Path, *, backbone: Path, more: EncodedItems | None = None
) -> StaticEncoder:
    """Train the nano tier of `recipe` on the shards in `labels`; everything it makes goes to run/nano.

    `backbone` is the folder of the pre-trained encoder and its tokenizer: its token embeddings are what rare tokens
    lean on. `more` are items that another tier has encoded; the held-out ones are labelled by the teacher all the same.
    Reads run/base_space.safetensors. Interrupted training goes on from its last checkpoint and ends where
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
    small = recipe.text[SMALL]  # nano reads what small reads
    tokenizer = text_tokenizer(backbone / "tokenizer.json", small.max_tokens)
    space = load_base_space(run / "base_space.safetensors")
    data = text_set(read_shards(labels), space, tokenizer, small)
    if not data.held_out:
        raise DataError(f"{labels}: {len(data.ids)} labelled items, at least 10 are needed")
    if more:
        texts = [
            split_identifiers(item.text) if item.modality == "code" and small.split_identifiers else item.text
            for item in more.items
        ]
        ids = [encoding.ids for encoding in tokenizer.encode_batch_fast(texts)]
        data = TextSet([*data.ids, *ids], np.concatenate([data.targets, more.targets]))
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
        rows = fit_rows(fitted, targets[:, :CHOSEN_ON], prior[:, :CHOSEN_ON], strength=strength)
        found, expected = held @ rows, held_targets[:, :CHOSEN_ON].astype(np.float32)
        lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
        return float(((found * expected).sum(1) / np.maximum(lengths, 1e-12)).mean())

    strength = max(STRENGTHS, key=held_out)
    rows = fit_rows(fitted, targets, prior, strength=strength)
    squared = np.asarray(fitted.multiply(fitted).sum(0)).ravel()
    table, projection = factorize(rows, squared + strength, width)
    return StaticEncoder(torch.from_numpy(table), torch.from_numpy(projection)), strength


def _batches(data: TextSet, config: StaticTraining, seed: int) -> Iterator[list[int]]:
    """Batches of rows for all epochs, each a shuffle of every item but the held-out ones."""
    for epoch in range(config.epochs):
        order = list(range(data.held_out, len(data.ids)))
        random.Random(seed * 1000 + epoch).shuffle(order)
        yield from (order[start : start + config.batch] for start in range(0, len(order), config.batch))


def _fit(
    encoder: StaticEncoder, data: TextSet, config: StaticTraining, seed: int, checkpoint: Path
) -> Curves:
    """Train in place; returns the curves."""
    batches = list(_batches(data, config, seed))
    optimizer = torch.optim.AdamW(
        [
            {"params": [encoder.table], "lr": config.learning_rate},
            {"params": encoder.projection.parameters(), "lr": config.projection_learning_rate},
        ],
        weight_decay=0.0,
    )

    def gradients(step: int) -> float:
        ids, mask, target = tensors(data, batches[step])
        student = encoder(ids, mask)
        loss = student_loss(student, target, prefix_weight=config.prefix_weight, kl_weight=config.kl_weight)
        loss.backward()
        return loss.item()

    return train(
        "nano",
        encoder,
        optimizer,
        gradients,
        ends=[len(batches)],
        warmup=config.warmup,
        max_norm=math.inf,
        measure=lambda _: {"held-out cosine": held_out_cosine(encoder, data)},
        measure_every=SAVE_EVERY,
        checkpoint=checkpoint,
        save_every=SAVE_EVERY,
        settings=(config, seed, len(data.ids)),
    )
