"""A mapper of one's own: fitted on pairs, judged on pairs that it has not seen, and the best mode when it does not help.

1. The start: base vectors as they are, or a search mode of the bundle where that is surely better on these pairs.
2. The fit (unbraid.custom_mapper.losses): one matrix W for both sides, on top of the start.
3. How far to go from the start to W is chosen by cross-validation over folds that share no text; where no distance is
   surely better than the start, the start it is.

Surely better means a mean gain over queries (or graded pairs) of more than two standard errors: with that rule no
fit lost on held-out queries, with one standard error a few did (docs/experiments.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from unbraid.custom_mapper.losses import fit_answers, fit_grades, moved
from unbraid.custom_mapper.mapper_file import IDENTITY, OwnMapper, check_name
from unbraid.custom_mapper.mapper_pairs import Pairs
from unbraid.embedder import Embedder
from unbraid.errors import DataError, ItemError
from unbraid.progress import track
from unbraid.vectors import normalise

MOST = 5000  # pairs that are used; of more a seeded sample
FOLDS = 5
LEAST_GROUPS = 20  # of pairs that share no text; below, five folds say nothing
STRENGTHS = (0.25, 0.5, 0.75, 1.0)
SURE = 2.0  # standard errors that a gain must have


@dataclass(frozen=True)
class Encoded:
    """Pairs as unit vectors float32 [m, D] of their different texts, and which texts each pair is made of."""

    queries: np.ndarray  # of the left sides [U, D]
    documents: np.ndarray  # of the right sides and the negatives [V, D]
    left: np.ndarray  # int [n], rows of `queries`
    right: np.ndarray  # int [n], rows of `documents`
    negative: np.ndarray  # int [n], rows of `documents`; -1 where a pair has none
    grades: np.ndarray | None

    def mapped(self, query: np.ndarray, document: np.ndarray) -> "Encoded":
        """The same pairs under a matrix for each side."""
        sides = normalise(self.queries @ query.T), normalise(self.documents @ document.T)
        return Encoded(*sides, self.left, self.right, self.negative, self.grades)


def fit_mapper(
    model: Embedder, pairs: Pairs, name: str, *, seed: int = 0, progress: bool | None = None
) -> OwnMapper:
    """A mapper fitted on `pairs`, never knowingly worse than the best mode `model` has; `about` holds its scores.

    Raises ItemError for a name that is taken or none, DataError for pairs that cannot be cross-validated.
    """
    if check_name(name) in (IDENTITY, *model.tasks, *model.search_modes):
        raise ItemError(f"{name!r} is a task or search mode of {model.name} already: choose another name")
    total = len(pairs)
    if total > MOST:
        pairs = pairs.take(np.sort(np.random.default_rng(seed).permutation(total)[:MOST]))
    folds = split_folds(pairs.groups(), seed)
    if pairs.grades is not None and len(np.unique(pairs.grades)) < 2:
        raise DataError("every pair has the same score: nothing tells alike from unlike")
    data = encode_pairs(model, pairs, progress)
    query, document, about = fit_encoded(data, folds, start_matrices(model), progress)
    about = {**about, "pairs_given": total, "bundle": model.name}
    return OwnMapper(name, model.base_id, query, None if document is query else document, about)


def fit_encoded(
    data: Encoded,
    folds: np.ndarray,
    starts: Mapping[str, tuple[np.ndarray, np.ndarray]],
    progress: bool | None = None,
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """`fit_mapper` on vectors: the query matrix, the document matrix (the same object for one mapper), the scores."""
    parts = [np.flatnonzero(folds == fold) for fold in range(FOLDS)]
    existing = {}
    for name, matrices in starts.items():
        mapped = data.mapped(*matrices)
        existing[name] = np.concatenate([score(mapped, rows) for rows in parts])
    start = best_start(existing)
    query, document = starts[start]
    started = data.mapped(query, document)
    scores, fold_of = cross_validate(started, folds, progress)
    choice = choose(scores)
    before, after = scores[0], scores[choice]
    strength = (0.0, *STRENGTHS)[choice]
    if strength:
        step = np.eye(len(query), dtype=np.float32)
        step += np.float32(strength) * (fit(started, np.arange(len(data.left))) - step)
        shared = document is query
        query = step @ query
        document = query if shared else step @ document
    return (
        query,
        document,
        {
            "kind": "answers" if data.grades is None else "grades",
            "pairs": len(data.left),
            "negatives": int((data.negative >= 0).sum()),
            "start": start,
            "strength": strength,
            "metric": "nDCG@10" if data.grades is None else "Spearman",
            "existing": {name: float(one.mean()) for name, one in existing.items()},
            "before": float(before.mean()),
            "after": float(after.mean()),
            "standard_error": standard_error(after - before),
            "folds": [
                [float(side[fold_of == fold].mean()) for side in (before, after)] for fold in range(FOLDS)
            ],
            "agreement": agreement(data, (query, document), starts),
        },
    )


def encode_pairs(model: Embedder, pairs: Pairs, progress: bool | None = None) -> Encoded:
    """The base vectors of `pairs`; a text that occurs again is encoded once."""
    number: dict[tuple[type, str], int] = {}
    sides = [
        np.array(
            [-1 if text is None else number.setdefault((type(text), text), len(number)) for text in side]
        )
        for side in (pairs.left, pairs.right, pairs.negative)
    ]
    vectors = model.encode([text for _, text in number], on_truncate="ignore", progress=progress)
    queries, left = np.unique(sides[0], return_inverse=True)
    has = sides[2] >= 0
    documents, rows = np.unique(np.concatenate([sides[1], sides[2][has]]), return_inverse=True)
    negative = np.full(len(pairs), -1)
    negative[has] = rows[len(pairs) :]
    return Encoded(vectors[queries], vectors[documents], left, rows[: len(pairs)], negative, pairs.grades)


def start_matrices(model: Embedder) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Where a fit can start: (query matrix, document matrix) of the identity and of every search mode.

    A mapper that is not linear gives its linear part. The two are one object where the sides are mapped alike.
    """
    identity = np.eye(model.dim, dtype=np.float32)
    modes = {
        mode: (model.matrix(query), model.matrix(document))
        for mode, (query, document) in model.search_modes.items()
    }
    return {IDENTITY: (identity, identity), **modes}


def best_start(results: dict[str, np.ndarray]) -> str:
    """The start with the best mean score, where it is surely better than the identity; else the identity."""
    best = max(results, key=lambda start: float(results[start].mean()))
    return best if surely(results[best] - results[IDENTITY]) else IDENTITY


def split_folds(groups: np.ndarray, seed: int = 0) -> np.ndarray:
    """Fold int [n] of each pair; pairs of one group [n] share a fold, the largest groups are dealt first.

    Raises DataError when too few groups share no text, or one holds half of the pairs.
    """
    names, sizes = np.unique(groups, return_counts=True)
    if len(names) < LEAST_GROUPS or sizes.max() > len(groups) / 2:
        raise DataError(
            f"{len(groups)} pairs fall into {len(names)} groups that share no text, the largest of {sizes.max()}: "
            f"cross-validation needs {LEAST_GROUPS} groups, none with half of the pairs: add pairs of other texts"
        )
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-sizes[order], kind="stable")]
    filled, fold_of = np.zeros(FOLDS, int), np.empty(len(names), int)
    for group in order:
        fold_of[group] = int(np.argmin(filled))
        filled[fold_of[group]] += sizes[group]
    return fold_of[np.searchsorted(names, groups)]


def fit(data: Encoded, rows: np.ndarray) -> np.ndarray:
    """W float32 [D, D] fitted on the pairs at `rows`."""
    left, right = data.queries[data.left[rows]], data.documents[data.right[rows]]
    if data.grades is not None:
        return fit_grades(left, right, data.grades[rows])
    negative = data.negative[rows]
    owners = np.flatnonzero(negative >= 0)
    return fit_answers(left, right, data.documents[negative[owners]], owners)


def cross_validate(
    data: Encoded, folds: np.ndarray, progress: bool | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Scores [1 + strengths, units] of what each fold's fit has not seen, the start's first; fold [units] of each.

    A unit is a query (its nDCG@10 among all documents, those of the fit included) or a graded pair.
    """
    found: list[np.ndarray] = []
    for fold in track(range(FOLDS), "cross-validate", unit="folds", shown=progress):
        weight = fit(data, np.flatnonzero(folds != fold))
        mapped_q, mapped_d = data.queries @ weight.T, data.documents @ weight.T
        held_out = np.flatnonzero(folds == fold)
        found.append(
            np.stack(
                [
                    score(
                        Encoded(
                            moved(data.queries, mapped_q, strength),
                            moved(data.documents, mapped_d, strength),
                            data.left,
                            data.right,
                            data.negative,
                            data.grades,
                        ),
                        held_out,
                    )
                    for strength in (0.0, *STRENGTHS)
                ]
            )
        )
    sizes = [scores.shape[1] for scores in found]
    return np.concatenate(found, axis=1), np.repeat(np.arange(FOLDS), sizes)


def choose(scores: np.ndarray) -> int:
    """Row of scores [1 + strengths, units] to take: the best of those surely better than row 0, the start, else 0."""
    sure = [row for row in range(1, len(scores)) if surely(scores[row] - scores[0])]
    return max(sure, key=lambda row: float(scores[row].mean()), default=0)


def surely(gain: np.ndarray) -> bool:
    """Whether the mean of gains [units] is more than two standard errors above zero."""
    return bool(gain.mean() > SURE * standard_error(gain)) and bool(gain.any())


def standard_error(values: np.ndarray) -> float:
    """Of the mean of values [units]."""
    return float(values.std(ddof=1) / len(values) ** 0.5)


# --- scores: one number a query or graded pair, whose mean is the metric ---


def score(data: Encoded, rows: np.ndarray) -> np.ndarray:
    """nDCG@10 float64 of each query of the pairs at `rows`, or each graded pair's share of Spearman's rho."""
    left, right = data.left[rows], data.right[rows]
    if data.grades is not None:
        cosines = np.einsum("nd,nd->n", data.queries[left], data.documents[right])
        return spearman_shares(cosines, data.grades[rows])
    asked, place = np.unique(left, return_inverse=True)
    relevant = np.zeros((len(asked), len(data.documents)), dtype=bool)
    relevant[place, right] = True
    return ndcg_at_10(data.queries[asked] @ data.documents.T, relevant)


def ndcg_at_10(scores: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """nDCG@10 float64 [Q] of scores [Q, V] with every relevant document [Q, V] of grade 1. Järvelin & Kekäläinen 2002."""
    most = min(10, scores.shape[1])
    top = np.argpartition(-scores, most - 1, axis=1)[:, :most]
    top = np.take_along_axis(top, np.argsort(-np.take_along_axis(scores, top, 1), axis=1, kind="stable"), 1)
    discount = 1 / np.log2(np.arange(2, most + 2))
    ideal = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(relevant.sum(axis=1), most)]
    found: np.ndarray = (np.take_along_axis(relevant, top, 1) * discount).sum(axis=1)
    return found / np.maximum(ideal, 1e-12)


def spearman_shares(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Products float64 [n] of standardised average ranks; their mean is Spearman's rho of a and b [n]."""
    first, second = ranks(a), ranks(b)
    first, second = first - first.mean(), second - second.mean()
    return first * second / max(float(first.std() * second.std()), 1e-12)


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks float64 [n] from 1; equal values share the mean of their ranks."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[place], np.float64)


def agreement(
    data: Encoded,
    mapper: tuple[np.ndarray, np.ndarray],
    modes: Mapping[str, tuple[np.ndarray, np.ndarray]],
) -> dict[str, float]:
    """Share of each mode's ten nearest documents that `mapper` finds too, over the queries of these pairs.

    What a task would lose if its vectors were made by the new mapper instead of its own, without labels.
    """
    most = min(10, len(data.documents) // 2)

    def nearest(matrices: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        mapped = data.mapped(*matrices)
        return np.argpartition(-(mapped.queries @ mapped.documents.T), most - 1, axis=1)[:, :most]

    ours = nearest(mapper)
    return {
        mode: float(
            np.mean([len(np.intersect1d(a, b)) / most for a, b in zip(ours, nearest(matrices), strict=True)])
        )
        for mode, matrices in modes.items()
    }
