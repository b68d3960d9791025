"""Ranking and its scores: nDCG, Recall and MRR by trec_eval (ir-measures), Spearman and intervals by scipy."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from unbraid.errors import require

# Similarities of a slice of the queries with all documents, float32 [rows, documents]; higher is better.
Scorer: TypeAlias = Callable[[slice], NDArray[np.float32]]
RANKING_METRICS = ("nDCG@10", "Recall@10", "MRR@10")
BLOCK_CELLS = 2**24  # similarities held at once: 64 MB


@dataclass(frozen=True)
class Score:
    """A mean over queries (or a correlation) and its 95 % bootstrap interval; the ends are NaN where undefined."""

    value: float
    low: float
    high: float


def dense(queries: NDArray[np.float32], documents: NDArray[np.float32]) -> Scorer:
    """Inner products of queries [n, D] and documents [m, D]: cosines, when both are unit length."""
    return lambda rows: queries[rows] @ documents.T


def rank(
    scorer: Scorer,
    n_queries: int,
    n_documents: int,
    *,
    k: int = 100,
    ignored: Mapping[int, int] | None = None,
) -> NDArray[np.intp]:
    """Row numbers of the best documents per query, best first: [n_queries, min(k, n_documents)].

    `ignored` is query row -> a document row to put last. A fixed shuffle orders equal scores, so that the order of the
    corpus file has no effect. Works in blocks of queries.
    """
    k = min(k, n_documents)
    tie = np.random.default_rng(0).permutation(n_documents)
    best = np.empty((n_queries, k), dtype=np.intp)
    step = max(1, BLOCK_CELLS // n_documents)
    for start in range(0, n_queries, step):
        block = scorer(slice(start, min(start + step, n_queries)))
        if np.isnan(block).any():
            raise ValueError("found NaN among the scores, expected finite vectors")
        for row, scores in enumerate(block, start):
            if ignored and row in ignored:
                scores[ignored[row]] = -np.inf
            kth = np.partition(scores, n_documents - k)[n_documents - k]
            candidates = np.flatnonzero(scores >= kth)
            order = np.lexsort((tie[candidates], -scores[candidates]))
            best[row] = candidates[order[:k]]
    return best


def ranking_scores(
    ranking: NDArray[np.intp],
    query_ids: Sequence[str],
    document_ids: Sequence[str],
    qrels: Mapping[str, Mapping[str, int]],
) -> dict[str, Score]:
    """nDCG@10, Recall@10 and MRR@10 of `ranking` [queries, k], whose rows follow the two id lists."""
    require("ir_measures", "evaluate")
    import ir_measures as ir

    measures = dict(zip((ir.nDCG @ 10, ir.R @ 10, ir.RR @ 10), RANKING_METRICS, strict=True))
    column = {document: str(i) for i, document in enumerate(document_ids)}
    # Row numbers stand in for ids, which may hold anything. Scores are ranks: trec_eval breaks ties by itself.
    judged = {
        str(row): {column.get(d, f"-{d}"): relevance for d, relevance in qrels[query].items()}
        for row, query in enumerate(query_ids)
    }
    run = {
        str(row): {str(d): float(-r) for r, d in enumerate(best)} for row, best in enumerate(ranking.tolist())
    }
    values = {name: np.zeros(len(query_ids)) for name in RANKING_METRICS}
    for result in ir.iter_calc(list(measures), judged, run):
        values[measures[result.measure]][int(result.query_id)] = result.value
    return {name: mean_score(per_query) for name, per_query in values.items()}


def mean_score(values: NDArray[np.float64]) -> Score:
    """Mean of one value per query [n], with its interval over queries."""
    return _score(np.mean, values)


def spearman(predicted: NDArray[np.floating[Any]], gold: NDArray[np.floating[Any]]) -> Score:
    """Rank correlation of two series [n], with its interval over rows; NaN when one of them is constant."""
    require("scipy", "evaluate")
    from scipy import stats

    def correlation(x: NDArray[np.float64], y: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
        # Pearson of the ranks: spearmanr itself has no axis, and would be called once for each resample.
        x, y = (stats.rankdata(values, axis=axis) for values in (x, y))
        x, y = (values - values.mean(axis, keepdims=True) for values in (x, y))
        norm = np.sqrt((x * x).sum(axis) * (y * y).sum(axis))
        with np.errstate(invalid="ignore"):
            return (x * y).sum(axis) / norm

    return _score(correlation, np.asarray(predicted, np.float64), np.asarray(gold, np.float64))


def _score(statistic: Callable[..., Any], *samples: NDArray[np.float64]) -> Score:
    """`statistic` of the paired samples and its percentile interval, 1,000 resamples with a fixed seed."""
    value = float(statistic(*samples))
    n = len(samples[0])
    if n < 2 or np.isnan(value):
        return Score(value, np.nan, np.nan)
    # scipy.stats.bootstrap is the same, but gives up where one resample has no correlation (small STS files).
    rng = np.random.default_rng(0)
    draws = [rng.integers(n, size=(100, n)) for _ in range(10)]
    resampled = np.concatenate([statistic(*(sample[rows] for sample in samples), axis=-1) for rows in draws])
    low, high = np.nanquantile(resampled, [0.025, 0.975]).tolist()
    return Score(value, low, high)
