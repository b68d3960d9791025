"""Search an index that a tier of many languages and English tiers have filled.

Each tier is near its teacher, but the errors of two tiers have little in common, so a query finds the texts of its own
tier much better than those of another (docs/experiments.md). Cosines within a tier compare with those within another. So
texts of the multilingual tier are asked by a query that it encoded itself, all others by the query as its language
routes it, and the hits are merged by the probability that they are relevant.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from unbraid.index.protocol import Vectors
from unbraid.index.search.hit import Hit
from unbraid.index.store.filter import Filter


class Search(Protocol):
    """Searches for base vectors [n, dim] among the chunks that pass a filter."""

    def __call__(self, base: Vectors, *, filter: Filter) -> list[list[Hit]]:
        """The best hits of each."""
        ...


def search_by_tier(
    search: Search,
    routed: Vectors,
    own: Vectors,
    tier: str,
    filter: Filter,
    k: int,
    *,
    alone: bool,
) -> list[list[Hit]]:
    """The `k` best hits of each query by `search`, which takes base vectors [n, dim] and a filter.

    `routed` are the vectors of the queries as their languages route them, `own` those by `tier`, which encoded some of the
    chunks, or all where it is `alone`.
    """
    if alone or np.array_equal(routed, own):
        return search(own, filter=filter)
    parts = (
        search(own, filter=replace(filter, tier=tier)),
        search(routed, filter=replace(filter, not_tier=tier)),
    )
    return [merge_hits(hits, k) for hits in zip(*parts, strict=True)]


def merge_hits(lists: Sequence[Sequence[Hit]], k: int) -> list[Hit]:
    """The `k` most likely hits of several lists, ranked anew; of equal ones that of the first list comes first."""
    best = sorted((hit for hits in lists for hit in hits), key=lambda hit: -hit.score)[:k]
    return [replace(hit, rank=rank) for rank, hit in enumerate(best, start=1)]
