import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbraid.adopt.bridge_map import Pairs, best_map, fit_maps, recall
from unbraid.vectors import normalize

RIDGES = ["ridge 0.001", "ridge back 0.001", "ridge 0.01", "ridge back 0.01", "ridge 0.1", "ridge back 0.1"]
WAYS = [*RIDGES, "ridge 1", "ridge back 1", "rotation"]


def rotation(dim, rng):
    return np.linalg.qr(rng.standard_normal((dim, dim)))[0].astype(np.float32)


def test_every_way_is_tried(unit):
    assert [one.way for one in fit_maps(unit(50, 8), unit(50, 6, seed=1))] == WAYS


@pytest.mark.parametrize("way", WAYS)
def test_a_rotated_space_is_found_again(way):
    rng = np.random.default_rng(0)
    own = normalize(rng.standard_normal((400, 12)).astype(np.float32))
    theirs = own @ rotation(12, rng).T
    found = next(one for one in fit_maps(own[:300], theirs[:300]) if one.way == way)
    assert recall(found(own[300:]), theirs[300:]) == 1.0
    assert (found(own[300:]) * theirs[300:]).sum(1).min() > 0.98


@given(own=st.integers(2, 12), theirs=st.integers(2, 12), seed=st.integers(0, 99))
def test_maps_give_unit_vectors_between_spaces_of_any_width(own, theirs, seed):
    rng = np.random.default_rng(seed)
    a, b = (normalize(rng.standard_normal((60, dim)).astype(np.float32)) for dim in (own, theirs))
    for one in fit_maps(a, b):
        found = one(a)
        assert found.shape == (60, theirs) and found.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_the_means_of_both_spaces_are_met():
    """e5's vectors lie in a narrow cone: a map without a constant would spend itself on the cone."""
    rng = np.random.default_rng(0)
    meaning = rng.standard_normal((500, 8)).astype(np.float32)
    own = normalize(meaning * 0.1 + 1)
    theirs = normalize(meaning @ rotation(8, rng).T)
    found = next(one for one in fit_maps(own[:400], theirs[:400]) if one.way == "ridge 0.01")
    assert (found(own[400:]) * theirs[400:]).sum(1).mean() > 0.9


def test_the_map_is_chosen_by_what_it_finds_apart():
    rng = np.random.default_rng(0)
    own = normalize(rng.standard_normal((600, 16)).astype(np.float32))
    theirs = normalize(own @ rotation(16, rng).T + 0.05 * rng.standard_normal((600, 16)).astype(np.float32))
    apart = Pairs(own[500:], own[500:]), Pairs(theirs[500:], theirs[500:])
    best = best_map(own[:500], theirs[:500], apart)
    assert recall(best(own[500:]), theirs[500:]) == 1.0


def test_recall_counts_questions_with_their_own_text_among_the_ten_nearest():
    documents = np.eye(20, dtype=np.float32)
    questions = documents.copy()
    assert recall(questions, documents) == 1.0
    questions[0] = normalize(np.r_[0, np.arange(19, 0, -1)][None].astype(np.float32))[
        0
    ]  # eleven others are nearer
    assert recall(questions, documents) == pytest.approx(19 / 20)
