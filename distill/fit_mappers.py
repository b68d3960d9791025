"""Stage 4: fit the task mappers on the students' base vectors, which are encoded once.

One fit per search mode: the two tasks of a mode are fitted together, since only their product counts. A linear
mapper starts from the closed-form read-out (students' base vectors -> teacher's) where that helps, else from the
identity; all are pulled back towards the base by a recovery term. What is kept is the step whose least gain over
all held-out sources is largest, and the identity when every step harms some source: a mapper that only fits the
source with the most pairs is worth nothing elsewhere.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from scipy.stats import spearmanr
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.functional import normalize

from unbraid.base_encoders.text import TextEncoder
from unbraid.batching import token_budget_batches
from unbraid.code_text import split_identifiers
from unbraid.distill.base_space import load_base_space
from unbraid.distill.label import teacher_dtype
from unbraid.distill.recipe import MapperTraining, Recipe, SearchMode
from unbraid.distill.text_set import text_tokenizer
from unbraid.distill.train_text import load_trained_text
from unbraid.errors import DataError
from unbraid.mappers import LinearMapper, LowRankMapper, Mapper, ridge_to_identity, save_mapper
from unbraid.progress import track
from unbraid.teacher.labels import read_shards
from unbraid.training.losses import cosent, cosine_loss, info_nce
from unbraid.training.record import write_record
from unbraid.training.rows import is_dev, rows

ToBase: TypeAlias = Callable[[list[str]], Tensor]  # texts -> base vectors [n, D]
MODES: dict[SearchMode, tuple[str, ...]] = {
    "retrieval": ("query", "document"),
    "symmetric": ("symmetric",),
    "code": ("code",),
}
ROWS_PER_FILE = 3000
LEAST_HELD_OUT = 50  # pairs; sources with fewer are scored as one
CHECK_EVERY = 25  # steps between held-out scores
READ_OUT = 6144  # texts that the read-out is fitted on
RIDGE = 1e-3  # pull of the read-out towards the identity, a share of the items
SAME_POSITIVE = 0.98  # base vectors of two positives this close are one positive


@dataclass(frozen=True)
class Pairs:
    """Base vectors [n, D] of both sides of each pair, and the grade [n] of each where there is one."""

    left: Tensor
    right: Tensor
    grades: Tensor


def fit_mappers(recipe: Recipe, data: Path, run: Path) -> dict[str, float]:
    """Fit every mode of `recipe`; writes run/mappers/TASK.safetensors and returns held-out scores.

    The scores come in pairs: "MODE, SOURCE, identity" and "MODE, SOURCE, mapped" (mean reciprocal rank among the
    held-out positives, or Spearman for graded pairs). The step was chosen on them, so they flatter a little.
    """
    torch.manual_seed(recipe.seed)
    encoder = load_trained_text(run)
    tokenizer = text_tokenizer(run / "text" / "tokenizer.json", recipe.text.max_tokens)
    to_base = partial(encode, encoder, tokenizer, dtype=teacher_dtype(recipe))
    read_out = _read_out(run, to_base)
    results: dict[str, float] = {}
    curves: dict[str, list[float]] = {}
    (run / "mappers").mkdir(parents=True, exist_ok=True)
    for mode, config in recipe.mapper.items():
        train, dev = _encode_pairs(config, data, to_base, recipe.seed)
        fitted, curve = fit_mode(
            config, len(MODES[mode]), train, list(dev.values()), start=read_out, seed=recipe.seed
        )
        for task, mapper in zip(MODES[mode], fitted, strict=True):
            save_mapper(mapper, run / "mappers" / f"{task}.safetensors")
        for name, pairs in dev.items():
            identity: list[Mapper] = [LinearMapper(pairs.left.shape[1])]
            results[f"{mode}, {name}, identity"] = held_out_score(config, identity, pairs, train.right)
            results[f"{mode}, {name}, mapped"] = held_out_score(config, fitted, pairs, train.right)
        curves[f"{mode}, held out"] = curve
    write_record(run / "mappers", recipe, curves, results)
    return results


def fit_mode(
    config: MapperTraining,
    sides: int,
    train: Pairs,
    dev: Sequence[Pairs],
    *,
    start: Tensor | None = None,
    seed: int,
) -> tuple[list[Mapper], list[float]]:
    """Mappers of one mode (one shared by both sides, or one a side) and the held-out score over training.

    `dev` are the held-out pairs of each source. `start` [D, D] is tried as the first weight of linear mappers.
    The curve holds the mean score over the sources, the identity's first; the mappers returned are those with
    the largest least gain over the sources.
    """
    dim = train.left.shape[1]
    mappers: list[Mapper] = [
        LinearMapper(dim) if config.kind == "linear" else LowRankMapper(dim, config.rank)
        for _ in range(sides)
    ]
    reference = [held_out_score(config, mappers, one, train.right) for one in dev]

    def judge(candidates: list[Mapper]) -> tuple[float, float]:
        scores = [held_out_score(config, candidates, one, train.right) for one in dev]
        gains = [score - before for score, before in zip(scores, reference, strict=True)]
        return min(gains), float(np.mean(scores))

    best, least_gain, curve = copy.deepcopy(mappers), 0.0, [float(np.mean(reference))]
    if start is not None and config.kind == "linear":
        started = copy.deepcopy(mappers)
        for mapper in started:
            mapper.load_state_dict({"weight": start})
        gain, score = judge(started)
        curve.append(score)
        if gain > least_gain:
            mappers, best, least_gain = started, copy.deepcopy(started), gain
    optimizer = torch.optim.AdamW([p for m in mappers for p in m.parameters()], lr=config.learning_rate)
    generator = torch.Generator().manual_seed(seed)
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
            gain, score = judge(mappers)
            if gain > least_gain:
                best, least_gain = copy.deepcopy(mappers), gain
            curve.append(score)
    return best, curve


@torch.inference_mode()
def held_out_score(config: MapperTraining, mappers: list[Mapper], dev: Pairs, others: Tensor) -> float:
    """Spearman of graded pairs, else the mean reciprocal rank of each positive among all of them and `others`.

    `others` [m, D] are base vectors of documents that answer none of the pairs: a mapper that ranks well among
    a few hundred documents can still lose among thousands.
    """
    left = normalize(mappers[0](dev.left), dim=-1)
    right = normalize(mappers[-1](dev.right), dim=-1)
    if config.loss == "cosent":
        return float(spearmanr((left * right).sum(-1).numpy(), dev.grades.numpy()).statistic)
    own = (left * right).sum(-1, keepdim=True)
    apart = normalize(mappers[-1](others), dim=-1)
    rank = 1 + sum((left @ bank.T > own + 1e-6).sum(1) for bank in (right, apart))
    return float((1 / rank).mean())


def _encode_pairs(
    config: MapperTraining, data: Path, to_base: ToBase, seed: int
) -> tuple[Pairs, dict[str, Pairs]]:
    """Training pairs, and held-out pairs by source, as base vectors; they share no text."""
    train, dev, few = [], {}, []
    for name in config.files:
        pairs = list(rows(data / name))
        held_out = [row for row in pairs if is_dev(row)]
        known = {text for row in held_out for text in _sides(row, config)}
        rest = [row for row in pairs if not is_dev(row) and known.isdisjoint(_sides(row, config))]
        train += _sample(rest, ROWS_PER_FILE, seed)
        if len(held_out) >= LEAST_HELD_OUT:
            dev[name] = _sample(held_out, ROWS_PER_FILE // 10, seed)
        else:
            few += held_out
    if few:
        dev["small sources"] = few
    if not train or not dev:
        total = sum(map(len, dev.values()))
        raise DataError(f"{', '.join(config.files)}: {len(train)} training and {total} held-out pairs")
    encoded = {name: _base_pairs(pairs, config, to_base) for name, pairs in dev.items()}
    return _base_pairs(train, config, to_base), encoded


def _sample(pairs: list[dict], most: int, seed: int) -> list[dict]:
    rng = np.random.default_rng(seed)
    return [pairs[row] for row in rng.permutation(len(pairs))[:most]]


def _sides(row: dict, config: MapperTraining) -> tuple[str, str]:
    """The two texts of a pair."""
    left, right = ("a", "b") if config.loss == "cosent" else ("anchor", "positive")
    return str(row[left]), str(row[right])


def _read_out(run: Path, to_base: ToBase) -> Tensor:
    """W [D, D], the ridge regression from students' base vectors to the teacher's on the first labelled texts."""
    space = load_base_space(run / "base_space.safetensors")
    texts: list[str] = []
    targets: list[np.ndarray] = []
    for shard in read_shards(run / "labels"):
        rows = [row for row, modality in enumerate(shard.modalities) if modality == "text"]
        texts += [shard.texts[row] for row in rows]
        targets.append(space.project(shard.vectors)[rows])
        if len(texts) >= READ_OUT:
            break
    target = torch.from_numpy(np.concatenate(targets)[:READ_OUT])
    return ridge_to_identity(to_base(texts[:READ_OUT]), target, RIDGE)


def _base_pairs(pairs: list[dict], config: MapperTraining, to_base: ToBase) -> Pairs:
    left, right = zip(*(_sides(row, config) for row in pairs), strict=True)
    if config.modality == "code":
        right = tuple(split_identifiers(code) for code in right)
    grades = torch.tensor([float(row.get("score", 1.0)) for row in pairs])
    return Pairs(to_base(list(left)), to_base(list(right)), grades)


@torch.inference_mode()
def encode(
    encoder: TextEncoder, tokenizer: Tokenizer, texts: list[str], dtype: torch.dtype = torch.float32
) -> Tensor:
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
        with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
            vectors[batch] = encoder(ids, mask).float()
    return vectors
