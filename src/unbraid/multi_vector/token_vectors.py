"""The vectors of an item's tokens, and which of them are kept."""

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from unbraid.vectors import normalize

# Two vectors of one token in a text with a larger cosine say the same.
SAME = 0.97


@dataclass(frozen=True)
class TokenVectors:
    """One item's multi-vector: for each of its tokens a unit vector, its weight as a part of a query, and its id.

    `vectors` float32 [tokens, dim], `weights` float32 [tokens], above 0, `ids` int64 [tokens]. An empty text has no tokens;
    one without a word, such as "...", has those of its signs. `base` float32 [D] is the base vector of the whole item, where
    the same run of an encoder gave it.
    """

    vectors: NDArray[np.float32]
    weights: NDArray[np.float32]
    ids: NDArray[np.int64]
    base: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        """How many tokens there are."""
        return len(self.ids)

    def weighted(self) -> NDArray[np.float32]:
        """The vectors float32 [tokens, dim], each times its share of all weights, for an engine that counts tokens equally.

        The sum over them of the largest dot product with a document's vectors is `maxsim`, where both have tokens.
        """
        return self.vectors * (self.weights / self.weights.sum())[:, None]

    def rows(self, kept: NDArray[np.integer] | NDArray[np.bool_]) -> "TokenVectors":
        """Some of the tokens, by their positions or by a mask."""
        return replace(self, vectors=self.vectors[kept], weights=self.weights[kept], ids=self.ids[kept])


def prune(tokens: TokenVectors, dropped: Collection[int]) -> TokenVectors:
    """The tokens without those whose id is `dropped` (stop words, punctuation), and without repeats that say the same.

    Where every token would be dropped they stay: "to be or not to be" is a text too.
    """
    words = ~np.isin(tokens.ids, np.fromiter(dropped, np.int64, len(dropped)))
    if words.any():
        tokens = tokens.rows(words)
    same = (tokens.ids[:, None] == tokens.ids) & (tokens.vectors @ tokens.vectors.T > SAME)
    return tokens.rows(~np.tril(same, -1).any(axis=1))


def pool(vectors: NDArray[np.float32], most: int) -> NDArray[np.float32]:
    """At most `most` unit vectors for those of [tokens, dim]: means of the nearest ones, joined pair by pair.

    Hierarchical token pooling (Clavié et al. 2024, arXiv 2409.14683), by Ward's criterion on sums of unit vectors.
    """
    count = len(vectors)
    if count <= most:
        return vectors
    sums, sizes = vectors.astype(np.float64), np.ones(count)
    alive = np.ones(count, bool)
    # What joining two groups adds to the squared distances from their means: |a||b| / (|a|+|b|) · |mean a - mean b|².
    squares = (sums**2).sum(1)
    costs = (squares[:, None] + squares) / 2 - sums @ sums.T
    np.fill_diagonal(costs, np.inf)
    # Of each group the one that is cheapest to join, so that a join costs a few rows and not the whole matrix.
    nearest = costs.argmin(1)
    least = costs[np.arange(count), nearest]
    for _ in range(count - most):
        first = int(least.argmin())
        first, second = sorted((first, int(nearest[first])))
        both = sizes[first] + sizes[second]
        # The costs of the joined group follow from those of its parts (Lance and Williams).
        joined = (sizes + sizes[first]) * costs[first] + (sizes + sizes[second]) * costs[second]
        joined = (joined - sizes * costs[first, second]) / (sizes + both)
        sums[first] += sums[second]
        sizes[first] = both
        alive[second] = False
        costs[first] = costs[:, first] = joined
        costs[second] = costs[:, second] = least[second] = np.inf
        # Ward's criterion never makes a joined group cheaper than the cheaper one of its parts was.
        changed = np.flatnonzero(alive & ((nearest == first) | (nearest == second)))
        changed = np.append(changed, first)
        nearest[changed] = costs[changed].argmin(1)
        least[changed] = costs[changed, nearest[changed]]
    return normalize(sums[alive])
