"""The vector to search base vectors with, so that the best documents of a task are among the candidates.

The best are those of the largest cosine (q·x) / ‖x‖ with x = W b, but an index of base vectors b ranks by an inner
product with one vector: Wᵀq makes that q·x, so long x come first. Two corrections: leave out most of what all x have in
common, which is only length where they lie in a cone; and subtract a linear estimate of the length from b. Which of the
two helps depends on the mapper and is found on a sample of the index.
"""

from dataclasses import dataclass, replace

import numpy as np

from unbraid.index.protocol import Model, Vectors
from unbraid.index.store.store import Store
from unbraid.vectors import fold

PROBES = 64  # of them that stand for queries
BEST = 5  # nearest of a probe that have to be among its candidates
# Of a logarithm: two choices differ by this much from sample to sample; then the one with more corrections is taken.
NEARLY = 0.1
RIDGE = 0.3  # on the coefficients of a length, against a sample of unit vectors


@dataclass(frozen=True)
class Folding:
    """Turns query vectors q [n, dim] of a task into vectors [n, dim] to ask an index of base vectors for.

    `centre` [dim] is the mean unit task vector of the documents or zero, `length` [dim] the gradient of |W b| in b or
    zero, `seen` [m, dim] unit task vectors of a sample, whose best cosine says how much a length matters. `size` is the
    mean |W b|, which a cosine grows by as an inner product.
    """

    weight: Vectors
    centre: Vectors
    length: Vectors
    seen: Vectors
    size: float

    def __call__(self, queries: Vectors) -> Vectors:
        """Vectors [n, dim] whose inner products with base vectors are to be the largest."""
        size = float(np.linalg.norm(self.centre))
        along = np.outer(queries @ self.centre, self.centre) / size if size else 0.0
        turned = (queries - along).astype(np.float32)
        folded = fold(self.weight, turned)
        if not self.length.any():
            return folded
        best = (turned @ self.seen.T).max(axis=1, keepdims=True)
        return folded - best * self.length


# (count of chunks when it was fitted, folding) by query task and document task. Fitting takes 0.1 s, a search some ms.
Foldings = dict[tuple[str, str], tuple[int, Folding]]


def folding_for(
    kept: Foldings, store: Store, model: Model, query_task: str, document_task: str, limit: int
) -> Folding:
    """The folding for an index and two tasks, from `kept`; fitted once, and again when the index has doubled.

    The plain one where `limit` candidates are all there are.
    """
    count = store.size()
    if count <= limit:
        return plain(model, document_task)
    known, folding = kept.get((query_task, document_task), (0, None))
    if folding is None or count > 2 * known:
        folding = fit_folding(model, store.sample(), query_task, document_task)
        kept[query_task, document_task] = count, folding
    return folding


def plain(model: Model, document_task: str) -> Folding:
    """Wᵀq, nothing corrected."""
    weight = model.matrix(document_task)
    nothing = np.zeros(weight.shape[1], np.float32)
    size = float(np.linalg.norm(weight)) / weight.shape[1] ** 0.5  # of a unit vector of any direction
    return Folding(weight, nothing, nothing, nothing[None], size)


def fit_folding(model: Model, sample: Vectors, query_task: str, document_task: str) -> Folding:
    """The folding that has to look least deep for the nearest of some items of `sample` [n, dim] among the others."""
    as_it_is = plain(model, document_task)
    if len(sample) <= 2 * BEST:
        return as_it_is
    weight, nothing = as_it_is.weight, as_it_is.length
    mapped = sample @ weight.T
    lengths = np.linalg.norm(mapped, axis=1)
    size = float(lengths.mean())
    if lengths.std() <= 1e-3 * lengths.mean():  # the inner product is the cosine already
        return replace(as_it_is, size=size)
    seen = model.map(sample, document_task)
    centre = seen.mean(axis=0)
    spread = sample - sample.mean(axis=0)
    normal = spread.T @ spread + RIDGE * np.eye(spread.shape[1], dtype=np.float32)
    length = np.linalg.solve(normal, spread.T @ (lengths - lengths.mean())).astype(np.float32)
    few = np.ascontiguousarray(seen[:: max(1, len(seen) // 500)])
    choices = [
        Folding(weight, centre, length, few, size),
        Folding(weight, centre, nothing, few, size),
        replace(as_it_is, size=size),
    ]
    probes = slice(0, len(sample), max(1, len(sample) // PROBES))
    queries = model.map(sample[probes], query_task)
    exact = queries @ seen.T
    exact[np.arange(len(queries)), np.arange(len(sample))[probes]] = -np.inf  # itself
    nearest = np.argpartition(-exact, BEST, axis=1)[:, :BEST]
    depths = [_depth(choice(queries) @ sample.T, nearest) for choice in choices]
    return next(
        choice for choice, depth in zip(choices, depths, strict=True) if depth <= min(depths) + NEARLY
    )


def _depth(scores: np.ndarray, nearest: np.ndarray) -> float:
    """Mean logarithm of how far down the order by `scores` [q, n] the last of `nearest` [q, BEST] is."""
    last = np.take_along_axis(scores, nearest, axis=1).min(axis=1, keepdims=True)
    return float(np.log((scores >= last).sum(axis=1)).mean())
