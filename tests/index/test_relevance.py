from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbraid.errors import BundleError
from unbraid.index.search.relevance import (
    FEATURES,
    FEW,
    STARTER,
    Evidence,
    Scale,
    features,
    idf,
    probability,
    rarity,
    relevance_of,
)


def evidence(z, bm25=0.0, best=0.0, rare=0.0, single=True, chunks=1000):
    z = np.atleast_1d(np.asarray(z, np.float32))
    full = [np.full(len(z), one, np.float32) for one in (bm25, rare)]
    return Evidence(z, full[0], best, full[1], single, chunks)


def test_features_by_hand():
    size = np.log(100)
    for single, expected in [(True, [3 / size, 0]), (False, [0, 3 / size])]:
        (row,) = features(evidence(2.0, bm25=8.0, best=16.0, rare=3.0, single=single, chunks=100))
        assert row.tolist() == pytest.approx([1, 2, 0.4, 2, 4, *expected, size])


@given(st.floats(-5, 15), st.floats(0, 50), st.floats(0, 12), st.integers(0, 10**7))
def test_a_score_is_a_probability(z, bm25, single, chunks):
    (odds,) = STARTER.log_odds(evidence(z, bm25, bm25, single, chunks=chunks))
    assert 0 <= probability(odds) <= 1
    assert 0 <= STARTER.by_vector(z, chunks) <= 1


@given(st.floats(-3, 10), st.floats(0.01, 2))
def test_without_words_a_score_grows_with_the_cosine(z, more):
    assert STARTER.by_vector(z + more, 1000) > STARTER.by_vector(z, 1000)


def test_a_word_that_few_chunks_hold_leads_where_it_is_the_whole_query():
    rare = idf(3, 5000)
    held, near = (
        STARTER.log_odds(one)[0]
        for one in (evidence(0, rare, rare, rare, chunks=5000), evidence(3.5, 0, rare, chunks=5000))
    )
    assert held > near


def test_a_word_that_many_chunks_hold_leads_to_none_of_them():
    values = [float(rarity(np.float32(5.0), holding, 5000)) for holding in (1, FEW, 2 * FEW, 10 * FEW)]
    assert values == pytest.approx([5.0, 5.0, 1.25, 0.05])
    assert rarity(np.float32(100.0), 1, 5000) == pytest.approx(2.5 * idf(1, 5000))


def test_the_scale_of_cosines_does_not_count_but_for_the_usual_ones():
    usual = np.random.default_rng(0).normal(0.2, 0.05, 5000).astype(np.float32)
    scale = Scale.of(usual, STARTER)
    assert scale(0.2) == pytest.approx(0, abs=0.1) and scale(0.25) == pytest.approx(1, abs=0.1)
    nothing = Scale.of(np.empty(0, np.float32), STARTER)
    assert (nothing.mean, nothing.spread) == pytest.approx((STARTER.mean, STARTER.spread))


def test_a_bundle_may_bring_its_own_map():
    own = {"words": [0.0] * len(FEATURES), "vector": [1.0, 2.0, 3.0], "mean": 0.5, "spread": 0.25}
    model = SimpleNamespace(bundle=SimpleNamespace(relevance=own))
    assert relevance_of(model).vector == (1.0, 2.0, 3.0)
    assert (
        relevance_of(object())
        is relevance_of(SimpleNamespace(bundle=SimpleNamespace(relevance={})))
        is STARTER
    )
    own["words"] = [1.0]
    with pytest.raises(BundleError, match="another version"):
        relevance_of(model)


@given(st.floats(-1, 1), st.floats(0.5, 2), st.floats(-0.2, 0.2))
def test_only_the_cosines_of_pictures_are_moved(cosine, slope, constant):
    relevance = replace(STARTER, picture=(slope, constant))
    text, picture = relevance.as_of_texts(np.asarray([cosine, cosine]), np.asarray([False, True]))
    assert text == cosine and picture == pytest.approx(slope * cosine + constant)
    assert relevance.of_picture(picture) == pytest.approx(cosine, abs=1e-9)


def test_a_bundle_says_how_cosines_of_pictures_count():
    own = {"words": [0.0] * len(FEATURES), "vector": [1.0, 2.0, 3.0], "mean": 0.5, "spread": 0.25}
    model = SimpleNamespace(bundle=SimpleNamespace(relevance=own))
    assert relevance_of(model).picture == (1.0, 0.0)
    own["picture"] = [1.5, 0.1]
    assert relevance_of(model).picture == (1.5, 0.1)


def test_idf_falls_with_the_number_of_chunks_that_hold_a_word():
    values = [idf(holding, 1000) for holding in (1, 6, 500, 1000, 2000)]
    assert values == sorted(values, reverse=True) and values[-1] > 0
