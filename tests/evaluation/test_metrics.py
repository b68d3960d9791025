import math

import numpy as np
import pytest
from scipy.stats import bootstrap, spearmanr

from unbraid.evaluation import metrics
from unbraid.evaluation.metrics import dense, mean_score, rank, ranking_scores, spearman

QUERIES = ["qa", "qb", "qc"]
DOCUMENTS = ["da", "db", "dc", "dd"]


def test_scores_of_three_queries_by_hand():
    ranking = np.array([[1, 0, 2, 3], [2, 1, 0, 3], [3, 2, 1, 0]])
    qrels = {"qa": {"da": 2, "db": 1, "dc": 0}, "qb": {"dc": 1}, "qc": {"da": 1, "dz": 1}}
    scores = ranking_scores(ranking, QUERIES, DOCUMENTS, qrels)
    first = (1 + 2 / math.log2(3)) / (2 + 1 / math.log2(3))
    third = (1 / math.log2(5)) / (1 + 1 / math.log2(3))  # one found at rank 4, dz is not in the corpus
    assert scores["nDCG@10"].value == pytest.approx((first + 1 + third) / 3)
    assert scores["Recall@10"].value == pytest.approx((1 + 1 + 0.5) / 3)
    assert scores["MRR@10"].value == pytest.approx((1 + 1 + 0.25) / 3)


def test_scores_agree_with_the_formulas_on_random_rankings():
    rng = np.random.default_rng(3)
    documents = [f"d{i}" for i in range(40)]
    queries = [f"q{i}" for i in range(30)]
    ranking = np.array([rng.permutation(40)[:25] for _ in queries])
    relevance = rng.integers(0, 4, (30, 40)) * (rng.random((30, 40)) < 0.2)
    relevance[:, 0] = 1
    qrels = {
        q: {d: int(r) for d, r in zip(documents, row, strict=True) if r}
        for q, row in zip(queries, relevance, strict=True)
    }
    expected = {"nDCG@10": [], "Recall@10": [], "MRR@10": []}
    for best, gains in zip(ranking, relevance, strict=True):
        discount = 1 / np.log2(np.arange(2, 12))
        found = gains[best[:10]]
        expected["nDCG@10"].append((found * discount).sum() / (np.sort(gains)[::-1][:10] * discount).sum())
        expected["Recall@10"].append((found > 0).sum() / (gains > 0).sum())
        expected["MRR@10"].append(1 / (1 + np.argmax(found > 0)) if found.any() else 0)
    for name, score in ranking_scores(ranking, queries, documents, qrels).items():
        assert score.value == pytest.approx(np.mean(expected[name])), name
        assert score.low < score.value < score.high


def test_ranking_in_blocks_is_the_full_sort(monkeypatch):
    rng = np.random.default_rng(0)
    q = rng.standard_normal((23, 8), dtype=np.float32)
    d = rng.standard_normal((50, 8), dtype=np.float32)
    whole = rank(dense(q, d), 23, 50, k=10)
    np.testing.assert_array_equal(whole, np.argsort(-(q @ d.T), axis=1)[:, :10])
    monkeypatch.setattr(metrics, "BLOCK_CELLS", 120)
    np.testing.assert_array_equal(rank(dense(q, d), 23, 50, k=10), whole)
    assert rank(dense(q, d), 23, 50).shape == (23, 50)


def test_ties_do_not_follow_the_order_of_the_corpus():
    same = rank(lambda rows: np.zeros((1, 1000), np.float32), 1, 1000)
    np.testing.assert_array_equal(same, rank(lambda rows: np.zeros((1, 1000), np.float32), 1, 1000))
    assert len(set(same[0])) == 100
    assert same.mean() == pytest.approx(500, abs=90)


def test_ignored_document_comes_last():
    scores = np.array([[3.0, 2.0, 1.0]], np.float32)
    assert rank(lambda rows: scores[rows].copy(), 1, 3, ignored={0: 0}).tolist() == [[1, 2, 0]]


def test_nan_is_refused():
    with pytest.raises(ValueError, match="found NaN"):
        rank(lambda rows: np.full((1, 3), np.nan, np.float32), 1, 3)


def test_spearman_by_hand_and_by_scipy():
    # ranks 1 2 3 against 1 3 2: 1 - 6 * (0 + 1 + 1) / (3 * 8)
    assert spearman(np.array([0.1, 0.2, 0.3]), np.array([1, 3, 2])).value == pytest.approx(0.5)
    rng = np.random.default_rng(1)
    gold = rng.integers(0, 6, 200) / 5  # with ties
    predicted = gold + rng.standard_normal(200)
    score = spearman(predicted, gold)
    assert score.value == pytest.approx(spearmanr(predicted, gold).statistic)
    assert score.low < score.value < score.high


def test_interval_agrees_with_scipy():
    values = np.random.default_rng(2).random(300)
    other = bootstrap((values,), np.mean, method="percentile", rng=1).confidence_interval
    score = mean_score(values)
    width = other.high - other.low
    assert score.low == pytest.approx(other.low, abs=0.05 * width)  # 1,000 resamples against 9,999
    assert score.high == pytest.approx(other.high, abs=0.05 * width)


def test_spearman_of_a_constant_is_nan():
    assert math.isnan(spearman(np.ones(5), np.arange(5)).value)


def test_interval_of_a_mean_covers_it_and_narrows_with_n():
    # A coin's 95 % interval is near 0.5 +- 1.96 * 0.5 / sqrt(n).
    score = mean_score(np.tile([0.0, 1.0], 200))
    assert score.value == 0.5
    assert score.high - score.low == pytest.approx(2 * 1.96 * 0.5 / 20, rel=0.1)
    assert score == mean_score(np.tile([0.0, 1.0], 200)), "fixed seed"
    assert math.isnan(mean_score(np.array([1.0])).low)
