"""Stage 4: fit the task mappers on the students' base vectors, which are encoded once.

One fit per search mode: the two tasks of a mode are fitted together, since only their product counts. Each
starts as the identity, is pulled back to it by a recovery term, is stopped at its best held-out score, and
stays the identity when nothing beats that.
"""

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.functional import normalize

from unbraid.base_encoders.text import TextEncoder
from unbraid.batching import token_budget_batches
from unbraid.code_text import split_identifiers
from unbraid.distill.data import is_dev, rows
from unbraid.distill.losses import cosent, cosine_loss, info_nce
from unbraid.distill.recipe import MapperTraining, Recipe, SearchMode
from unbraid.distill.record import write_record
from unbraid.distill.train_text import load_trained_text, text_tokenizer
from unbraid.errors import DataError
from unbraid.mappers import LinearMapper, LowRankMapper, Mapper, save_mapper
from unbraid.progress import track

MODES: dict[SearchMode, tuple[str, ...]] = {
    "retrieval": ("query", "document"),
    "symmetric": ("symmetric",),
    "code": ("code",),
}
ROWS_PER_FILE = 6000
CHECK_EVERY = 25  # steps between held-out scores
SAME_POSITIVE = 0.98  # base vectors of two positives this close are one positive


@dataclass(frozen=True)
class Pairs:
    """Base vectors [n, D] of both sides of each pair, and the grade [n] of each where there is one."""

    left: Tensor
    right: Tensor
    grades: Tensor


def fit_mappers(recipe: Recipe, data: Path, run: Path) -> dict[str, float]:
    """Fit every mode of `recipe`; writes run/mappers/TASK.safetensors and returns held-out scores.

    The scores come in pairs: "MODE identity" and "MODE mapped" (mean reciprocal rank among the held-out
    positives, or Spearman for graded pairs).
    """
    torch.manual_seed(recipe.seed)
    encoder = load_trained_text(run)
    tokenizer = text_tokenizer(run / "text" / "tokenizer.json", recipe.text.max_tokens)
    results: dict[str, float] = {}
    curves: dict[str, list[float]] = {}
    (run / "mappers").mkdir(parents=True, exist_ok=True)
    for mode, config in recipe.mapper.items():
        train, dev = _encode_pairs(config, data, encoder, tokenizer, recipe.seed)
        fitted, curve = fit_mode(config, len(MODES[mode]), train, dev, seed=recipe.seed)
        for task, mapper in zip(MODES[mode], fitted, strict=True):
            save_mapper(mapper, run / "mappers" / f"{task}.safetensors")
        results[f"{mode} identity"], results[f"{mode} mapped"] = curve[0], max(curve)
        curves[f"{mode}, held out"] = curve
    write_record(run / "mappers", recipe, curves, results)
    return results


def fit_mode(
    config: MapperTraining, sides: int, train: Pairs, dev: Pairs, *, seed: int
) -> tuple[list[Mapper], list[float]]:
    """Mappers of one mode (one shared by both sides, or one a side) and the held-out score over training.

    The curve's first value is the identity's score; the mappers returned are those of its maximum.
    """
    dim = train.left.shape[1]
    mappers: list[Mapper] = [
        LinearMapper(dim) if config.kind == "linear" else LowRankMapper(dim, config.rank)
        for _ in range(sides)
    ]
    optimizer = torch.optim.AdamW([p for m in mappers for p in m.parameters()], lr=config.learning_rate)
    generator = torch.Generator().manual_seed(seed)
    best, curve = copy.deepcopy(mappers), [held_out_score(config, mappers, dev)]
    for step in range(1, config.steps + 1):
        batch = torch.randint(len(train.left), (config.batch,), generator=generator)
        left, right = train.left[batch], train.right[batch]
        mapped_left = normalize(mappers[0](left), dim=-1)
        mapped_right = normalize(mappers[-1](right), dim=-1)
        recovery = cosine_loss(mapped_left, left) + cosine_loss(mapped_right, right)
        if config.loss == "cosent":
            task = cosent((mapped_left * mapped_right).sum(-1), train.grades[batch], 0.05)
        else:
            task = info_nce(mapped_left, mapped_right, 0.05, same=right @ right.T > SAME_POSITIVE)
        loss = task + config.recovery * recovery
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % CHECK_EVERY == 0 or step == config.steps:
            score = held_out_score(config, mappers, dev)
            if score > max(curve):
                best = copy.deepcopy(mappers)
            curve.append(score)
    return best, curve


@torch.inference_mode()
def held_out_score(config: MapperTraining, mappers: list[Mapper], dev: Pairs) -> float:
    """Spearman of graded pairs, else the mean reciprocal rank of each pair among all held-out positives."""
    left = normalize(mappers[0](dev.left), dim=-1)
    right = normalize(mappers[-1](dev.right), dim=-1)
    if config.loss == "cosent":
        return float(spearmanr((left * right).sum(-1).numpy(), dev.grades.numpy()).statistic)
    scores = left @ right.T
    rank = 1 + (scores > scores.diagonal()[:, None]).sum(1)
    return float((1 / rank).mean())


def _encode_pairs(
    config: MapperTraining, data: Path, encoder: TextEncoder, tokenizer: Tokenizer, seed: int
) -> tuple[Pairs, Pairs]:
    """Training and held-out pairs of the mode's files as base vectors."""
    train, dev = [], []
    for name in config.files:
        pairs = list(rows(data / name))
        train += _sample([row for row in pairs if not is_dev(row)], ROWS_PER_FILE, seed)
        dev += _sample([row for row in pairs if is_dev(row)], ROWS_PER_FILE // 20, seed)
    if not train or not dev:
        raise DataError(f"{', '.join(config.files)}: {len(train)} training and {len(dev)} held-out pairs")
    return _base_pairs(train, config, encoder, tokenizer), _base_pairs(dev, config, encoder, tokenizer)


def _sample(pairs: list[dict], most: int, seed: int) -> list[dict]:
    rng = np.random.default_rng(seed)
    return [pairs[row] for row in rng.permutation(len(pairs))[:most]]


def _base_pairs(
    pairs: list[dict], config: MapperTraining, encoder: TextEncoder, tokenizer: Tokenizer
) -> Pairs:
    left_field, right_field = ("a", "b") if config.loss == "cosent" else ("anchor", "positive")
    left = [str(row[left_field]) for row in pairs]
    right = [str(row[right_field]) for row in pairs]
    if config.modality == "code":
        right = [split_identifiers(code) for code in right]
    grades = torch.tensor([float(row.get("score", 1.0)) for row in pairs])
    return Pairs(encode(encoder, tokenizer, left), encode(encoder, tokenizer, right), grades)


@torch.inference_mode()
def encode(encoder: TextEncoder, tokenizer: Tokenizer, texts: list[str]) -> Tensor:
    """Base vectors float32 [n, 512] of `texts`, in order."""
    encodings = tokenizer.encode_batch_fast(texts)
    vectors = torch.empty(len(texts), encoder.projection.out_features)
    for batch in track(
        token_budget_batches([len(e.ids) for e in encodings], budget=4096), "encode", unit="batches"
    ):
        ids = torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(encodings[i].ids) for i in batch], batch_first=True
        )
        lengths = torch.tensor([len(encodings[i].ids) for i in batch])
        mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
        vectors[batch] = encoder(ids, mask)
    return vectors
