import numpy as np
import pytest
from scipy.stats import rankdata, spearmanr

from unbraid.custom_mapper.cross_validation import (
    LEAST_GROUPS,
    check_groups,
    choose_strength,
    move,
    ndcg_at_10,
    ranks,
    spearman_shares,
    split_folds,
)
from unbraid.errors import DataError
from unbraid.vectors import normalize

# -- folds -------------------------------------------------------------------------------------------------


def test_folds_never_split_a_group_and_are_of_equal_size():
    groups = np.random.default_rng(0).integers(0, 70, 400)
    folds = split_folds(groups)
    assert all(len(np.unique(folds[groups == group])) == 1 for group in np.unique(groups))
    sizes = np.bincount(folds)
    assert len(sizes) == 5 and sizes.max() - sizes.min() <= np.bincount(groups).max()


@pytest.mark.parametrize(
    "groups", [np.arange(LEAST_GROUPS - 1), np.concatenate([np.zeros(60, int), np.arange(1, 50)])]
)
def test_pairs_that_hang_together_cannot_be_cross_validated(groups):
    with pytest.raises(DataError, match="groups that share no text"):
        check_groups(np.array(groups), by_file=False)


# -- scores ------------------------------------------------------------------------------------------------


def test_ndcg_by_hand():
    scores = np.array([[0.9, 0.8, 0.7, 0.6], [0.1, 0.2, 0.3, 0.4]])
    relevant = np.array([[False, True, False, True], [False, False, False, True]])
    first = (1 / np.log2(3) + 1 / np.log2(5)) / (1 + 1 / np.log2(3))
    np.testing.assert_allclose(ndcg_at_10(scores, relevant), [first, 1.0])


def test_what_is_not_among_the_first_ten_counts_nothing():
    scores = -np.arange(12.0)[None]
    assert ndcg_at_10(scores, np.arange(12)[None] == 10) == 0


def test_the_mean_of_the_shares_is_spearmans_rho():
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 9, (2, 60)).astype(float)  # with ties
    assert spearman_shares(a, b).mean() == pytest.approx(spearmanr(a, b).statistic)
    np.testing.assert_allclose(ranks(a), rankdata(a))


def test_the_best_of_the_sure_gains_is_chosen_and_none_without_one():
    rng = np.random.default_rng(2)
    start, noise = rng.random(400), 0.05 * rng.standard_normal((3, 400))
    assert choose_strength(np.stack([start, *(start + noise + [[0.02], [0.05], [0.04]])])) == 2
    assert choose_strength(np.stack([start, *(start + noise)])) == 0
    assert choose_strength(np.stack([start, start, start])) == 0


def test_moving_by_nothing_or_all_of_the_way():
    rng = np.random.default_rng(5)
    vectors = normalize(rng.standard_normal((4, 6)))
    mapped = vectors @ rng.standard_normal((6, 6)).astype(np.float32)
    np.testing.assert_allclose(move(vectors, mapped, 0.0), vectors, atol=1e-6)
    np.testing.assert_allclose(move(vectors, mapped, 1.0), normalize(mapped), atol=1e-6)
