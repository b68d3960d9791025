"""Candidates are scored from the top, as far down as can change the best."""

import uuid

import numpy as np
import pytest

from unbraid.index.search.rescore import rescore


def looked(inner, cosines, k=10, block=50, size=1.0):
    """What is yielded first, and how many were scored for it."""
    scored = []

    def score(some):
        scored.extend(range(len(inner))[some])
        part = np.asarray(cosines[some], np.float32)
        return [uuid.UUID(int=row) for row in scored[-len(part) :]], part

    return next(rescore(np.asarray(inner, np.float32), size, k, block, score)), len(scored)


def test_without_residuals_one_block_is_enough():
    inner = np.linspace(2, 1, 1500)
    ranked, scored = looked(inner, inner / 2, size=2.0)
    assert scored == 50 and ranked.order[:20] == list(range(20))
    assert [one.int for one in ranked.ids] == list(range(50)) and len(ranked.scores) == 50


def test_a_damaged_candidate_has_no_more_of_them_scored():
    inner = np.linspace(2, 1, 1500)
    cosines = inner / 2
    inner[0] = 1e36
    assert looked(inner, cosines, size=2.0)[1] == 50


def test_where_residuals_say_more_than_the_order_all_are_scored():
    rng = np.random.default_rng(0)
    ranked, scored = looked(np.linspace(0.1, 0, 300), cosines := rng.uniform(0, 1, 300))
    assert scored == 300 and ranked.order == np.argsort(-cosines).tolist()


@pytest.mark.parametrize("noise", [0.002, 0.01, 0.03])
def test_the_best_are_in_place_and_few_are_scored_for_it(noise):
    rng, kept, depth = np.random.default_rng(1), [], []
    for _ in range(200):
        inner = -np.sort(-rng.normal(0.2, 0.1, 20_000))[:1500]
        cosines = (inner + rng.normal(0.3, noise, 1500)).astype(np.float32)
        ranked, scored = looked(inner, cosines)
        kept.append(set(ranked.order[:10]) == set(np.argsort(-cosines)[:10].tolist()))
        depth.append(scored)
    assert np.mean(kept) >= 0.99 and np.median(depth) < 1500


def test_all_come_in_the_end_and_each_is_scored_once():
    rng, asked = np.random.default_rng(2), []
    inner = -np.sort(-rng.normal(size=333)).astype(np.float32)
    cosines = (inner + rng.normal(0, 0.1, 333)).astype(np.float32)

    def score(some):
        rows = list(range(333))[some]
        asked.extend(rows)
        return [uuid.UUID(int=row) for row in rows], cosines[rows]

    *_, last = rescore(inner, 1.0, 10, 50, score)
    assert asked == list(range(333)) and last.order == np.argsort(-cosines, kind="stable").tolist()


def test_fewer_than_a_block_and_none():
    ranked, scored = looked([0.3, 0.2], [0.1, 0.4])
    assert scored == 2 and ranked.order == [1, 0]
    assert looked(np.zeros(0), np.zeros(0))[0].order == []
