"""Scoring candidates exactly, from the top of the order that the index gives them, as far down as matters.

The index orders by an inner product s that is a cosine but for a factor, the mean length of mapped vectors, and a
residual: cosine - s / size. A candidate that is not scored yet is taken to have a residual no further above the median
than the furthest of those that are scored, times MARGIN, and times log N / log n for n of N, since the furthest of n
values with an exponential tail grows as log n. Where even that does not lift the next candidate, whose s is the largest
of the rest, to the k + 1 best, the rest is left alone. Of 1,000 queries to 100,000 real vectors that lost at most 2 in
10,000 of the ten best in any mode; 50 or (symmetric mode) 300 candidates of 1,500 had to be scored (medians).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from uuid import UUID

import numpy as np

from unbraid.index.protocol import Scores, Vectors

MARGIN = 1.25


@dataclass(frozen=True)
class Ranked:
    """The first n candidates: ids, vectors [n, dim] as stored, scores [n]; `order` has those that are in place.

    These come best first; no candidate that is not scored is expected to belong before the last of them.
    """

    ids: list[UUID]
    vectors: Vectors
    scores: Scores
    order: list[int]


def descend(
    inner: Scores,
    size: float,
    k: int,
    block: int,
    score: Callable[[slice], tuple[list[UUID], Vectors, Scores]],
) -> Iterator[Ranked]:
    """Candidates of falling inner products [n], more of them each time, in the end all.

    Nothing is yielded before more than `k` are in place, or all are scored. `score` says ids, vectors and cosines of a
    slice of them, first of `block`, then of twice as many in all each time. `size` is the mean length of mapped vectors.
    """
    ids, vectors, cosines = score(slice(0, block))
    while len(ids) < len(inner):
        scored = len(ids)
        residuals = cosines - inner[:scored] / size
        usual = np.median(residuals)  # which one damaged candidate does not move
        furthest = MARGIN * np.log(len(inner)) / np.log(scored) * (residuals.max() - usual)
        reached = inner[scored] / size + usual + furthest
        order = np.argsort(-cosines, kind="stable")[: np.count_nonzero(cosines > reached)]
        if len(order) > k:
            yield Ranked(ids, vectors, cosines, order.tolist())
        more = score(slice(scored, 2 * scored))  # few rounds, as each is a question to a server
        ids = [*ids, *more[0]]
        vectors, cosines = np.concatenate([vectors, more[1]]), np.concatenate([cosines, more[2]])
    yield Ranked(ids, vectors, cosines, np.argsort(-cosines, kind="stable").tolist())
