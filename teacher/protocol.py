"""All that distillation needs of a teacher."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from unbraid.items import Item


class Teacher(Protocol):
    """Gives the target vector of an item for each task.

    `routes` maps each task (query, document, symmetric, code) to the name of the route (adapter and prompt)
    that answers it; tasks that share a route share their vectors, which are then stored once. `id` changes
    whenever the vectors would; `about` says what decides them. `modalities` are the kinds of items it encodes.
    """

    id: str
    about: Mapping[str, object]
    dim: int
    routes: Mapping[str, str]
    modalities: tuple[str, ...]

    def encode(self, items: Sequence[Item], task: str) -> np.ndarray:
        """Task vectors of `items`: float32 [n, dim], unit length, in the order given."""
        ...
