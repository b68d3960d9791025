"""Batches by length and token budget: little padding, and each batch fits the cache."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from unbraid.progress import track

T = TypeVar("T")
R = TypeVar("R")


def token_budget_batches(lengths: Sequence[int], *, budget: int) -> list[list[int]]:
    """Positions of `lengths` grouped into batches, longest first, of at most `budget` padded tokens each.

    A batch costs its longest member times its size; an item over the budget is a batch of one. Every position occurs
    exactly once.
    """
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    batches: list[list[int]] = []
    for row in order:
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= budget:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


def run_batches(
    run: Callable[[T], R], batches: Sequence[T], what: str, *, threads: int, progress: bool | None
) -> list[R]:
    """What `run` returns for each batch, in order; `threads` batches run at the same time."""
    with ThreadPoolExecutor(threads) as pool:
        # Handing every batch to a single thread costs a third of nano's speed.
        results = pool.map(run, batches) if threads > 1 else map(run, batches)
        steps = track(batches, what, unit="batches", shown=progress)
        return [result for _, result in zip(steps, results, strict=True)]
