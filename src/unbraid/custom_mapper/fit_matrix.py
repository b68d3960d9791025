"""Fit one matrix to pairs of unit vectors, in numpy: whitening and a few steps of InfoNCE, or CoSENT for graded pairs.

B pairs, D dimensions, K further negatives. One matrix maps both sides of a pair: a matrix for queries alone gained
less on every source that was tried (docs/experiments.md).
"""

from collections.abc import Callable

import numpy as np

TEMPERATURE = 0.05
RIDGE = 3.0  # of the whitening, in mean eigenvalues
SAME = 0.98  # cosine from which two documents (or queries) count as one, and are no negatives of each other
BATCH = 512  # pairs a step
RATE = 0.004  # of Adam's first step; it falls to zero linearly
# InfoNCE after whitening: more steps overfit the pairs.
PAIRS_A_STEP, LEAST_STEPS, MOST_STEPS = 100, 5, 40
GRADED_RATE, GRADED_STEPS = 0.002, 60


def fit_answers(
    queries: np.ndarray, documents: np.ndarray, negatives: np.ndarray, owners: np.ndarray
) -> np.ndarray:
    """W float32 [D, D] that brings queries [B, D] near their documents [B, D]: whitening, then InfoNCE.

    negatives [K, D] are wrong documents of the queries at rows `owners` [K].
    """
    steps = int(np.clip(len(queries) / PAIRS_A_STEP, LEAST_STEPS, MOST_STEPS))
    batches = _batches(len(queries), steps)

    def gradient(weight: np.ndarray, step: int) -> np.ndarray:
        rows = batches[step]
        apart = negatives[np.isin(owners, rows)]
        return info_nce(weight, queries[rows], documents[rows], apart)[1]

    return adam(whiten(queries, documents), gradient, rate=RATE, steps=steps)


def fit_grades(left: np.ndarray, right: np.ndarray, grades: np.ndarray) -> np.ndarray:
    """W float32 [D, D] under which the cosines of left and right [B, D] are ordered as grades [B]: CoSENT."""
    batches = _batches(len(left), GRADED_STEPS)

    def gradient(weight: np.ndarray, step: int) -> np.ndarray:
        rows = batches[step]
        return cosent(weight, left[rows], right[rows], grades[rows])[1]

    return adam(np.eye(left.shape[1], dtype=np.float32), gradient, rate=GRADED_RATE, steps=GRADED_STEPS)


def whiten(left: np.ndarray, right: np.ndarray, ridge: float = RIDGE) -> np.ndarray:
    """W = (C + ridge I)^(-1/2), float32 [D, D], with C the covariance of left - right [B, D] at mean eigenvalue 1.

    Shrinks the directions in which a query and its answer differ anyway: within-class covariance normalization,
    Hatch, Kajarekar & Stolcke 2006. Scaled so that the mapped left vectors have mean square length 1.
    """
    difference = (left - right).astype(np.float64)
    covariance = difference.T @ difference
    values, turn = np.linalg.eigh(covariance / max(np.trace(covariance), 1e-12) * len(covariance))
    weight = (turn / np.sqrt(np.maximum(values, 0) + ridge)) @ turn.T
    length = np.sqrt(np.mean(np.square(left @ weight).sum(axis=1)))
    return np.asarray(weight / length, np.float32)


def info_nce(
    weight: np.ndarray, queries: np.ndarray, documents: np.ndarray, negatives: np.ndarray
) -> tuple[float, np.ndarray]:
    """InfoNCE of pairs [B, D] mapped by weight [D, D], both ways, and its gradient by the weight.

    The mean of -log softmax over a query's own document among all B documents and the negatives [K, D], and over a
    document's own query among the B queries. Near-equal queries or documents are left out as negatives.
    """
    size = len(queries)
    candidates = np.concatenate([documents, negatives])
    u_q, through_q = _mapped(weight, queries)
    u_d, through_d = _mapped(weight, candidates)
    same = documents @ candidates.T > SAME
    same[:, :size] |= queries @ queries.T > SAME
    np.fill_diagonal(same, False)
    logits = (u_q @ u_d.T) / TEMPERATURE
    exp = np.where(same, 0, np.exp(logits - 1 / TEMPERATURE))  # a cosine is at most 1: nothing overflows
    by_row, by_column = exp.sum(axis=1, keepdims=True), exp[:, :size].sum(axis=0)
    own = np.arange(size)
    loss = float(np.mean((np.log(by_row[:, 0]) + np.log(by_column)) / 2 - logits[own, own] + 1 / TEMPERATURE))
    slope = exp / by_row / 2
    slope[:, :size] += exp[:, :size] / by_column / 2
    slope[own, own] -= 1
    slope /= TEMPERATURE * size
    return loss, through_q(slope @ u_d) + through_d(slope.T @ u_q)


def cosent(
    weight: np.ndarray, left: np.ndarray, right: np.ndarray, grades: np.ndarray
) -> tuple[float, np.ndarray]:
    """CoSENT of pairs [B, D] mapped by weight [D, D], and its gradient by the weight.

    log(1 + sum of exp((cos_i - cos_j) / temperature)) over all i graded below j: Su 2022, https://kexue.fm/archives/8847.
    """
    u_l, through_l = _mapped(weight, left)
    u_r, through_r = _mapped(weight, right)
    scores = np.einsum("bd,bd->b", u_l, u_r) / TEMPERATURE
    below = grades[:, None] < grades
    exp = np.where(below, np.exp(scores[:, None] - scores), 0)
    total = 1 + exp.sum()
    slope = ((exp.sum(axis=1) - exp.sum(axis=0)) / total / TEMPERATURE)[:, None].astype(weight.dtype)
    return float(np.log(total)), through_l(slope * u_r) + through_r(slope * u_l)


def adam(
    weight: np.ndarray, gradient: Callable[[np.ndarray, int], np.ndarray], *, rate: float, steps: int
) -> np.ndarray:
    """`weight` after `steps` of Adam (Kingma & Ba 2015; 0.9, 0.99); the rate falls linearly from `rate` to 0."""
    first, second = np.zeros_like(weight), np.zeros_like(weight)
    for step in range(steps):
        slope = gradient(weight, step)
        first = 0.9 * first + 0.1 * slope
        second = 0.99 * second + 0.01 * slope**2
        scale = np.sqrt(second / (1 - 0.99 ** (step + 1))) + 1e-10
        weight = weight - rate * (1 - step / steps) * first / (1 - 0.9 ** (step + 1)) / scale
    return weight


def _mapped(weight: np.ndarray, vectors: np.ndarray) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """W v at unit length for vectors [B, D], and a function that turns their gradient [B, D] into the gradient of W."""
    mapped = vectors @ weight.T
    length = np.maximum(np.linalg.norm(mapped, axis=1, keepdims=True), 1e-12)
    unit = mapped / length

    def through(slope: np.ndarray) -> np.ndarray:
        inner: np.ndarray = (slope - (slope * unit).sum(axis=1, keepdims=True) * unit) / length
        return inner.T @ vectors

    return unit, through


def _batches(count: int, steps: int) -> list[np.ndarray]:
    """Rows of each step: all rows where they fit in a batch, otherwise slices of one shuffle after another."""
    if count <= BATCH:
        return [np.arange(count)] * steps
    rng = np.random.default_rng(0)
    per_shuffle = count // BATCH
    order: list[np.ndarray] = []
    while len(order) < steps:
        shuffled = rng.permutation(count)
        order += [shuffled[i * BATCH : (i + 1) * BATCH] for i in range(per_shuffle)]
    return order[:steps]
