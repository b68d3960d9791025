"""What distillation needs of a teacher, and no more."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np


class Teacher(Protocol):
    """Gives the target vector of an item for each task.

    `routes` maps each task (query, document, symmetric, code) to the name of the route (adapter and prompt)
    that answers it; tasks that share a route share their vectors, which are then stored once. `id` changes
    whenever the vectors would.
    """

    id: str
    dim: int
    routes: Mapping[str, str]

    def encode(self, items: Sequence[str], task: str) -> np.ndarray:
        """Task vectors of `items`: float32 [n, dim], unit length, in the order given."""
        ...
