"""Folds of pairs that share no text, and the scores of fits on pairs that they have not seen."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from unbraid.custom_mapper.fit_matrix import fit_answers, fit_grades
from unbraid.custom_mapper.mapper_pairs import EncodedPairs
from unbraid.errors import DataError
from unbraid.progress import track
from unbraid.vectors import normalize

FOLDS = 5
LEAST_GROUPS, LEAST_FILES = 20, 10  # of pairs that share no text, or of files; below, five folds say nothing
# Shares of the way from the start to the fitted matrix that are tried; the start itself is the first row.
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
SURE = 2.0  # standard errors that a gain must have


def check_groups(groups: np.ndarray, *, by_file: bool) -> None:
    """Raise DataError when the groups [n] of pairs are too few, or one holds half of the pairs; they may be files."""
    names, sizes = np.unique(groups, return_counts=True)
    least = LEAST_FILES if by_file else LEAST_GROUPS
    if len(names) >= least and sizes.max() <= len(groups) / 2:
        return
    if by_file:
        raise DataError(
            f"{len(groups)} pairs of headings, functions or pictures were found in {len(names)} files, the largest has "
            f"{sizes.max()}: cross-validation needs {least} files, none with half of the pairs: name a larger folder"
        )
    raise DataError(
        f"{len(groups)} pairs fall into {len(names)} groups that share no text, the largest of {sizes.max()}: "
        f"cross-validation needs {least} groups, none with half of the pairs: add pairs of other texts"
    )


def split_folds(groups: np.ndarray, seed: int = 0) -> np.ndarray:
    """Fold int [n] of each pair. Pairs of one group [n] share a fold; the largest groups are dealt first."""
    names, sizes = np.unique(groups, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-sizes[order], kind="stable")]
    filled, fold_of = np.zeros(FOLDS, int), np.empty(len(names), int)
    for group in order:
        fold_of[group] = int(np.argmin(filled))
        filled[fold_of[group]] += sizes[group]
    return fold_of[np.searchsorted(names, groups)]


def fit(data: EncodedPairs, rows: np.ndarray) -> np.ndarray:
    """W float32 [D, D] fitted on the pairs at `rows`."""
    left, right = data.queries[data.left[rows]], data.documents[data.right[rows]]
    if data.grades is not None:
        return fit_grades(left, right, data.grades[rows])
    negative = data.negative[rows]
    owners = np.flatnonzero(negative >= 0)
    return fit_answers(left, right, data.documents[negative[owners]], owners)


def cross_validate(
    data: EncodedPairs, folds: np.ndarray, progress: bool | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Scores [strengths, units] of each fold under the fit on the other folds, and the fold [units] of each unit.

    A unit is a query (its nDCG@10 among all documents, those of the fit included) or a graded pair.
    """
    found: list[np.ndarray] = []
    for fold in track(range(FOLDS), "cross-validate", unit="folds", shown=progress):
        weight = fit(data, np.flatnonzero(folds != fold))
        mapped_q, mapped_d = data.queries @ weight.T, data.documents @ weight.T
        held_out = np.flatnonzero(folds == fold)
        scores = []
        for strength in STRENGTHS:
            moved = replace(
                data,
                queries=move(data.queries, mapped_q, strength),
                documents=move(data.documents, mapped_d, strength),
            )
            scores.append(score(moved, held_out))
        found.append(np.stack(scores))
    return np.concatenate(found, axis=1), np.repeat(np.arange(FOLDS), [one.shape[1] for one in found])


def move(vectors: np.ndarray, mapped: np.ndarray, strength: float) -> np.ndarray:
    """Unit vectors part of the way from `vectors` [n, D] to `mapped` = W v: normalize(((1 - s) I + s W) v)."""
    return normalize(vectors + np.float32(strength) * (mapped - vectors))


def choose_strength(scores: np.ndarray) -> int:
    """Row of `scores` [strengths, units] to take: the best of those surely better than row 0, the start; otherwise 0."""
    sure = [row for row in range(1, len(scores)) if surely_better(scores[row] - scores[0])]
    return max(sure, key=lambda row: float(scores[row].mean()), default=0)


def surely_better(gain: np.ndarray) -> bool:
    """Whether the mean of gains [units] is more than two standard errors above zero."""
    return bool(gain.mean() > SURE * standard_error(gain)) and bool(gain.any())


def standard_error(values: np.ndarray) -> float:
    """Standard error of the mean of values [units]."""
    return float(values.std(ddof=1) / len(values) ** 0.5)


# --- scores: one number for each query or graded pair; their mean is the metric ---


def score(data: EncodedPairs, rows: np.ndarray) -> np.ndarray:
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
    """nDCG@10 float64 [Q] of scores [Q, V] where relevant [Q, V] documents have grade 1. Järvelin & Kekäläinen 2002."""
    most = min(10, scores.shape[1])
    top = np.argpartition(-scores, most - 1, axis=1)[:, :most]
    top = np.take_along_axis(top, np.argsort(-np.take_along_axis(scores, top, 1), axis=1, kind="stable"), 1)
    discount = 1 / np.log2(np.arange(2, most + 2))
    ideal = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(relevant.sum(axis=1), most)]
    found: np.ndarray = (np.take_along_axis(relevant, top, 1) * discount).sum(axis=1)
    return found / np.maximum(ideal, 1e-12)


def spearman_shares(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Products float64 [n] of standardized average ranks; their mean is Spearman's rho of a and b [n]."""
    first, second = ranks(a), ranks(b)
    first, second = first - first.mean(), second - second.mean()
    return first * second / max(float(first.std() * second.std()), 1e-12)


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks float64 [n] from 1; equal values share the mean of their ranks."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[place], np.float64)


def agreement(
    data: EncodedPairs,
    mapper: tuple[np.ndarray, np.ndarray],
    modes: Mapping[str, tuple[np.ndarray, np.ndarray]],
) -> dict[str, float]:
    """Share of each mode's ten nearest documents that `mapper` finds too, over the queries of these pairs.

    It tells, without labels, what a task would lose if the new mapper made its vectors.
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
