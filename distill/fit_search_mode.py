"""Fit the mappers of one search mode on base vectors: tensors in, mappers out.

The two tasks of a mode are fitted together, because only their product counts: they share one mapper, and the query's
differs from the document's by a matrix of low rank. Both start from the closed-form read-outs, and the recovery term
pulls them back. The step kept is the one with the largest mean gain over the held-out sources among those that lose on
no source more than a tolerance, and nothing on a source that is held out whole. Without such a step the read-outs stay: a
mapper that fits only its own sources is of no use elsewhere.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn.functional import normalize

from unbraid.distill.recipe import MapperTraining
from unbraid.mappers import GatedMapper, LinearMapper, LowRankMapper, Mapper
from unbraid.training.losses import cosent, cosine_loss, info_nce, over_prefixes

TEMPERATURE = 0.05
CHECK_EVERY = 25  # steps between held-out scores
TOLERANCE = 0.004  # that a source may lose; 300 queries cannot tell less apart
SAME_POSITIVE = 0.98  # base vectors of two positives this close are one positive
DIFFERENCE = 16  # rank of what the query's mapper adds to the document's


@dataclass(frozen=True)
class Pairs:
    """Base vectors [E, n, D] of both sides of each pair by each of E encoders, and the grade [n] where there is one."""

    left: Tensor
    right: Tensor
    grades: Tensor


def fit_mode(
    config: MapperTraining,
    starts: Sequence[Tensor],
    train: Pairs,
    dev: Sequence[Pairs],
    *,
    seed: int,
    whole: int = 0,
) -> tuple[list[Mapper], list[float]]:
    """Mappers of one mode (one for both sides, or the query's and the document's) and the curve of their scores.

    `starts` [D, D] are the read-outs of the mode's tasks; `dev` are the held-out pairs of each source, of which the first
    `whole` come from sources that nothing is trained on. The curve holds the mean held-out score over the sources, that of
    the read-outs first.
    """
    generator = torch.Generator().manual_seed(seed)
    shared = _shared(config, starts[-1])
    difference = _difference(starts, generator) if len(starts) > 1 else []
    started = [LinearMapper(start).requires_grad_(False) for start in starts]
    reference = [held_out_score(config, started, one, train.right) for one in dev]
    best: list[Mapper] = list(started)
    most, curve = 0.0, [float(np.mean(reference))]
    optimizer = torch.optim.AdamW([*shared.parameters(), *difference], lr=config.learning_rate)
    for step in range(1, config.steps + 1):
        loss = _loss(config, shared, difference, started, train, generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % CHECK_EVERY == 0 or step == config.steps:
            mappers = _mappers(shared, difference)
            scores = [held_out_score(config, mappers, one, train.right) for one in dev]
            gains = [score - before for score, before in zip(scores, reference, strict=True)]
            lost = min(gains) < -TOLERANCE or min(gains[:whole], default=0.0) < 0
            if not lost and np.mean(gains) > most:
                best, most = mappers, float(np.mean(gains))
            curve.append(float(np.mean(scores)))
    return best, curve


def _shared(config: MapperTraining, start: Tensor) -> Mapper:
    if config.kind == "linear":
        return LinearMapper(start)
    return LowRankMapper(start, config.rank) if config.kind == "low-rank" else GatedMapper(start, config.rank)


def _difference(starts: Sequence[Tensor], generator: torch.Generator) -> list[Tensor]:
    """U, V [D, 16]: U Vᵀ is nearest to the query's read-out minus the document's (Eckart-Young)."""
    u, s, vt = torch.linalg.svd(starts[0] - starts[-1])
    root = s[:DIFFERENCE].sqrt()
    up, down = u[:, :DIFFERENCE] * root, vt[:DIFFERENCE].T * root
    if not up.any():  # tasks with one route: nothing yet, but room to learn
        down = torch.randn(down.shape, generator=generator) / len(down) ** 0.5
    return [up.clone().requires_grad_(), down.clone().requires_grad_()]


def _mappers(shared: Mapper, difference: Sequence[Tensor]) -> list[Mapper]:
    """Frozen copies: the document's mapper, or the query's and the document's where they differ."""
    document = copy.deepcopy(shared).requires_grad_(False)
    if not difference:
        return [document]
    query = copy.deepcopy(document)
    fixed = query.start if isinstance(query, LowRankMapper) else query.weight
    fixed.add_(difference[0].detach() @ difference[1].detach().T)
    return [query, document]


def _loss(
    config: MapperTraining,
    shared: Mapper,
    difference: Sequence[Tensor],
    started: Sequence[Mapper],
    train: Pairs,
    generator: torch.Generator,
) -> Tensor:
    """The task loss and the recovery term of one batch; each side of a pair comes from an encoder drawn at random."""
    encoders, count, _ = train.left.shape
    rows = torch.randint(count, (config.batch,), generator=generator)
    by = torch.randint(encoders, (2, config.batch), generator=generator)
    left, right = train.left[by[0], rows], train.right[by[1], rows]
    mapped_right = shared(right)
    mapped_left = shared(left)
    if difference:
        mapped_left = mapped_left + left @ difference[1] @ difference[0].T
    recovery = cosine_loss(mapped_left, started[0](left)) + cosine_loss(mapped_right, started[-1](right))

    def task(a: Tensor, b: Tensor) -> Tensor:
        if config.loss == "cosent":
            return cosent((a * b).sum(-1), train.grades[rows], TEMPERATURE)
        return info_nce(a, b, TEMPERATURE, same=right @ right.T > SAME_POSITIVE)

    dims = [dim for dim in config.prefixes if dim < left.shape[1]] + [left.shape[1]]
    return over_prefixes(task, mapped_left, mapped_right, dims) + config.recovery * recovery


@torch.inference_mode()
def held_out_score(config: MapperTraining, mappers: Sequence[Mapper], dev: Pairs, others: Tensor) -> float:
    """Spearman of graded pairs, else the mean reciprocal rank of each positive among all of them and `others`.

    It is the mean over the encoders. `others` [E, m, D] are base vectors of documents that answer none of the pairs: a
    mapper that ranks well among a few hundred documents can still lose among thousands.
    """
    scores = []
    for base_left, base_right, base_others in zip(dev.left, dev.right, others, strict=True):
        left = normalize(mappers[0](base_left), dim=-1)
        right = normalize(mappers[-1](base_right), dim=-1)
        own = (left * right).sum(-1, keepdim=True)
        if config.loss == "cosent":
            scores.append(float(spearmanr(own.squeeze(1).numpy(), dev.grades.numpy()).statistic))
            continue
        apart = normalize(mappers[-1](base_others), dim=-1)
        rank = 1 + sum((left @ bank.T > own + 1e-6).sum(1) for bank in (right, apart))
        scores.append(float((1 / rank).mean()))
    return float(np.mean(scores))
