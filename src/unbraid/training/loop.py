"""The training loop that all encoders and adapters share; each of them brings its batches and its loss."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

from unbraid.progress import counting
from unbraid.training.checkpoint import Curves, Stateful, load_checkpoint, save_checkpoint
from unbraid.training.schedule import learning_rate_factor


def train(
    name: str,
    model: nn.Module,
    optimizer: Optimizer,
    gradients: Callable[[int], float],
    *,
    ends: Sequence[int],
    warmup: float,
    max_norm: float = 1.0,
    measure: Callable[[int], Mapping[str, float]],
    measure_every: int,
    checkpoint: Path,
    save_every: int,
    settings: object,
    average: AveragedModel | None = None,
    extra: Mapping[str, Stateful] | None = None,
) -> Curves:
    """Train `model` in place; returns the curves: "loss" by step, and what `measure` gives.

    `gradients(step)` adds the gradients of a step and returns its loss. It must depend on the step alone, so that a
    run that was stopped at any moment, resumed from `checkpoint`, ends with the same weights. `ends` are the steps at
    which the cosine cycles of the learning rate end; the last one ends the training. `measure(done)` runs every
    `measure_every` steps and after the last. `settings` decide whether a checkpoint may be resumed. `average` follows the
    weights after every step; `extra` is other state to save, for example the best weights so far.
    """
    schedule = LambdaLR(optimizer, lambda step: learning_rate_factor(step, ends=ends, warmup=warmup))
    parts = {"model": model, "optimizer": optimizer, "schedule": schedule, **(extra or {})}
    if average is not None:
        parts["average"] = average
    curves, first, steps = Curves(loss=[]), 0, ends[-1]
    if checkpoint.exists():
        curves, first = load_checkpoint(checkpoint, parts, settings=settings)
    with counting(f"train {name}", unit="steps", total=steps, done=first) as advance:
        for step in range(first, steps):
            optimizer.zero_grad()
            curves["loss"].append(gradients(step))
            torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
            optimizer.step()
            schedule.step()
            if average is not None:
                average.update_parameters(model)
            done = step + 1
            if done % measure_every == 0 or done == steps:
                for curve, value in measure(done).items():
                    curves.setdefault(curve, []).append(value)
            if done % save_every == 0 or done == steps:
                save_checkpoint(checkpoint, parts, settings=settings, curves=curves, done=done)
            advance(1)
    return curves
