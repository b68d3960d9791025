"""Resumable training: one file that holds everything needed to go on, written whole or not at all."""

from pathlib import Path

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from unbraid.errors import DataError

Curves = dict[str, list[float]]


def save_checkpoint(
    path: Path,
    encoder: nn.Module,
    optimizer: Optimizer,
    scale: LRScheduler,
    *,
    settings: object,
    curves: Curves,
    done: int,
) -> None:
    """Write the state after `done` steps or epochs; `settings` are what a later run must share to go on."""
    state = {
        "encoder": encoder.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scale": scale.state_dict(),
        "settings": str(settings),
        "curves": curves,
        "done": done,
        "random": torch.get_rng_state(),  # of layers that drop
        "random cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
    torch.save(state, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").replace(path)


def load_checkpoint(
    path: Path, encoder: nn.Module, optimizer: Optimizer, scale: LRScheduler, *, settings: object
) -> tuple[Curves, int]:
    """Restore what `save_checkpoint` wrote; returns the curves and how much is done.

    Raises DataError when it was saved under other settings: to go on would silently skip or repeat steps.
    """
    state = torch.load(path, weights_only=True)
    if state.get("settings") != str(settings):
        raise DataError(
            f"{path}: saved under other settings: choose another --run, or delete it to start again"
        )
    encoder.load_state_dict(state["encoder"])
    optimizer.load_state_dict(state["optimizer"])
    scale.load_state_dict(state["scale"])
    torch.set_rng_state(state["random"])
    if state["random cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["random cuda"])
    return state["curves"], state["done"]
