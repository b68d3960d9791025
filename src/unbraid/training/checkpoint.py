"""Resumable training: one file that holds everything needed to continue."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import torch

from unbraid.errors import DataError
from unbraid.io.atomic import atomic_file

Curves: TypeAlias = dict[str, list[float]]


class Stateful(Protocol):
    """A model, an optimizer, a schedule: anything that gives and takes its state."""

    def state_dict(self) -> dict[str, Any]:
        """The state, as tensors and plain values."""

    def load_state_dict(self, state: dict[str, Any], /) -> object:
        """Restore what `state_dict` gave."""


def save_checkpoint(
    path: Path, parts: Mapping[str, Stateful], *, settings: object, curves: Curves, done: int
) -> None:
    """Write the state after `done` steps. A later run must have the same `settings` to resume from it."""
    state = {
        "parts": {name: part.state_dict() for name, part in parts.items()},
        "settings": str(settings),
        "curves": curves,
        "done": done,
        "random": torch.get_rng_state(),  # for dropout
        "random cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
    with atomic_file(path) as unfinished:
        torch.save(state, unfinished)


def load_checkpoint(path: Path, parts: Mapping[str, Stateful], *, settings: object) -> tuple[Curves, int]:
    """Restore what `save_checkpoint` wrote; returns the curves and the number of steps done.

    Raises DataError for other settings: resuming would silently skip or repeat steps.
    """
    state = torch.load(path, weights_only=True)
    if state.get("settings") != str(settings):
        raise DataError(
            f"{path}: saved under other settings: choose another --run, or delete it to start again"
        )
    for name, part in parts.items():
        part.load_state_dict(state["parts"][name])
    torch.set_rng_state(state["random"])
    if state["random cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["random cuda"])
    return state["curves"], state["done"]
