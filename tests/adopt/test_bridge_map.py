import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbraid.adopt.bridge_map import fit_map, recall
from unbraid.vectors import normalize


def rotation(dim, rng):
    return np.linalg.qr(rng.standard_normal((dim, dim)))[0].astype(np.float32)


def test_a_rotated_space_is_found_again():
    rng = np.random.default_rng(0)
    own = normalize(rng.standard_normal((400, 12)).astype(np.float32))
    theirs = own @ rotation(12, rng).T
    found = fit_map(own[:300], theirs[:300])(own[300:])
    assert (found * theirs[300:]).sum(1).min() > 0.999


def test_what_is_not_a_rotation_is_learned_from_enough_texts():
    rng = np.random.default_rng(0)
    own = normalize(rng.standard_normal((4000, 12)).astype(np.float32))
    theirs = normalize(own @ rng.standard_normal((12, 20)).astype(np.float32))
    found = fit_map(own[:3900], theirs[:3900])(own[3900:])
    assert recall(found, theirs[3900:]) == 1.0
    assert (found * theirs[3900:]).sum(1).mean() > 0.97


def test_directions_that_no_text_shows_stay_apart():
    """Ridge towards zero would give all texts that differ there alone one vector."""
    rng = np.random.default_rng(0)
    seen = rng.standard_normal((200, 16)).astype(np.float32)
    seen[:, 8:] *= 0.01
    turn = rotation(16, rng)
    bridge = fit_map(seen, seen @ turn.T)
    unseen = np.eye(16, dtype=np.float32)[8:]
    found = bridge(unseen)
    np.fill_diagonal(gram := found @ found.T, 0)
    assert np.abs(gram).max() < 0.5


@given(own=st.integers(2, 12), theirs=st.integers(2, 12), seed=st.integers(0, 99))
def test_it_gives_unit_vectors_between_spaces_of_any_width(own, theirs, seed):
    rng = np.random.default_rng(seed)
    a, b = (normalize(rng.standard_normal((60, dim)).astype(np.float32)) for dim in (own, theirs))
    found = fit_map(a, b)(a)
    assert found.shape == (60, theirs) and found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_the_means_of_both_spaces_are_met():
    """e5's vectors lie in a narrow cone: a map without a constant would spend itself on the cone."""
    rng = np.random.default_rng(0)
    meaning = rng.standard_normal((500, 8)).astype(np.float32)
    own = normalize(meaning * 0.1 + 1)
    theirs = normalize(meaning @ rotation(8, rng).T)
    found = fit_map(own[:400], theirs[:400])(own[400:])
    assert (found * theirs[400:]).sum(1).mean() > 0.9


def test_a_model_that_gives_every_text_the_same_vector_gives_no_nan():
    same = normalize(np.ones((50, 4), np.float32))
    assert np.isfinite(fit_map(same, same)(same)).all()


def test_recall_counts_questions_with_their_own_text_among_the_ten_nearest():
    documents = np.eye(20, dtype=np.float32)
    questions = documents.copy()
    assert recall(questions, documents) == 1.0
    questions[0] = normalize(np.r_[0, np.arange(19, 0, -1)][None].astype(np.float32))[
        0
    ]  # ten others are nearer
    assert recall(questions, documents) == pytest.approx(19 / 20)
