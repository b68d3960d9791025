"""Batches by length and token budget, so that little is spent on padding and each batch fits the cache."""

from collections.abc import Sequence


def token_budget_batches(lengths: Sequence[int], *, budget: int) -> list[list[int]]:
    """Positions of `lengths` grouped into batches, longest first, of at most `budget` padded tokens each.

    A batch's cost is its longest member times its size; a single item over the budget is a batch of one.
    Every position occurs exactly once.
    """
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    batches: list[list[int]] = []
    for row in order:
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= budget:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches
