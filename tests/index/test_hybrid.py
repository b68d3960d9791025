import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from unbraid.index.search.hybrid import WEIGHT, mixed

cosine = st.floats(-1, 1, width=32)
bm25 = st.floats(0, 50, width=32)
rows = st.integers(1, 8).flatmap(
    lambda n: st.tuples(arrays(np.float64, n, elements=cosine), arrays(np.float64, n, elements=bm25))
)
spread = st.floats(0.01, 0.5)


def test_mixing_by_hand():
    scores = mixed(np.array([0.5, 0.4, 0.1]), np.array([0.0, 4.0, 16.0]), 0.1, 16.0)
    np.testing.assert_allclose(scores, [0.5, 0.4 + WEIGHT * 0.1, 0.1 + WEIGHT * 0.1 * 4])


def test_a_block_is_its_rows():
    cosines, words = np.random.default_rng(0).random((2, 3, 5)).astype(np.float32)
    block = mixed(cosines, words, cosines.std(axis=1), words.max(axis=1))
    assert block.dtype == np.float32
    for row in range(3):
        one = mixed(cosines[row], words[row], cosines[row].std(), words[row].max())
        np.testing.assert_allclose(block[row], one, rtol=1e-6)


@given(arrays(np.float64, 4, elements=cosine), spread)
def test_without_words_the_cosines_stay(cosines, spread):
    np.testing.assert_array_equal(mixed(cosines, np.zeros(4), spread, 0.0), cosines)


@given(rows, spread)
def test_words_only_add_and_the_best_adds_most(pair, spread):
    cosines, words = pair
    gain = mixed(cosines, words, spread, words.max()) - cosines
    assert (gain >= -1e-12).all()
    assert gain.argmax() == words.argmax() or np.isclose(gain.max(), gain[words.argmax()])
    np.testing.assert_allclose(gain.max(), WEIGHT * spread * np.sqrt(words.max()), atol=1e-9)


@given(rows, spread, st.floats(0.5, 2), st.floats(-0.5, 0.5))
def test_the_order_does_not_depend_on_the_scale_or_zero_of_the_cosines(pair, spread, scale, shift):
    cosines, words = pair
    scores = mixed(cosines, words, spread, words.max())
    other = mixed(scale * cosines + shift, words, scale * spread, words.max())
    np.testing.assert_allclose(other, scale * scores + shift, atol=1e-9)
