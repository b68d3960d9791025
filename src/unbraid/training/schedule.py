"""The learning rate over training."""

import math
from bisect import bisect_right
from collections.abc import Sequence


def learning_rate_factor(step: int, *, ends: Sequence[int], warmup: float) -> float:
    """The factor on the learning rate at `step`: in each cycle a linear warm-up, then a cosine down to zero.

    `ends` are the steps at which the cycles end. Each cycle peaks at half of the one before (warm restarts:
    Loshchilov & Hutter 2017).
    """
    cycle = min(bisect_right(ends, step), len(ends) - 1)
    start = ends[cycle - 1] if cycle else 0
    place, length = step - start, ends[cycle] - start
    rise = (place + 1) / max(1, warmup * length)
    return 0.5**cycle * min(rise, 0.5 + 0.5 * math.cos(math.pi * min(place / length, 1)))
