import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbraid.index.search.relevance import LISTED_WORDS, LISTED_Z, STARTER, Evidence, features
from unbraid.index.search.side_by_side import GAIN, READ, prefer_side_by_side
from unbraid.index.store.bm25 import read_query, word_pairs


@pytest.mark.parametrize(
    ("query", "listed"),
    [
        ("summary license screen", True),
        ("summary license", False),
        ("where is the summary screen", False),
        ("summary license screen?", False),
        ("screen screen screen", False),
        ("wie kann ich das Passwort ändern", False),
        ("comment changer le mot de passe", False),
        ("无法登录账户 请重试", False),
        ("", False),
    ],
)
def test_a_query_of_three_words_that_is_no_sentence_is_a_list(query, listed):
    assert read_query(query).listed == listed


def test_pairs_are_of_words_side_by_side_by_their_stems():
    assert word_pairs("Running the dogs, home") == {("run", "dog"), ("dog", "home")}
    assert word_pairs("one") == frozenset()


def test_a_chunk_with_the_words_side_by_side_comes_before_one_that_only_has_them():
    texts = ["license plan summary of this screen", "a summary license screen", "nothing"]
    odds = prefer_side_by_side(
        np.zeros(3), "summary license screen", lambda rows: [texts[row] for row in rows]
    )
    assert odds.tolist() == [0.0, GAIN, 0.0]


def test_only_the_first_are_read_and_only_where_a_query_has_neighbours():
    asked = []

    def read(rows):
        asked.append(rows)
        return ["a b"] * len(rows)

    prefer_side_by_side(np.arange(200.0), "red cat", read)
    assert asked == [list(range(199, 199 - READ, -1))]
    assert prefer_side_by_side(np.arange(3.0), "cat", read).tolist() == [0, 1, 2] and len(asked) == 1


@given(st.lists(st.floats(-9, 9), min_size=1, max_size=60))
def test_no_chunk_loses_and_none_gains_more_than_all_of_it(odds):
    before = np.asarray(odds)
    after = prefer_side_by_side(before, "red cat house", lambda rows: ["red cat" * (row % 2) for row in rows])
    assert ((after - before >= -1e-9) & (after - before <= GAIN)).all()


def test_in_a_list_words_count_more_and_the_vector_less():
    def row(listed):
        one = np.ones(1, np.float32)
        return features(Evidence(one, 4 * one, 4.0, 0 * one, False, 100, listed))[0]

    plain, listed = row(False), row(True)
    assert listed[1:3].tolist() == pytest.approx((LISTED_Z * plain[1:3]).tolist())
    assert listed[3:5].tolist() == pytest.approx((LISTED_WORDS * plain[3:5]).tolist())
    assert STARTER.log_odds(Evidence(np.ones(1), np.ones(1), 1.0, np.zeros(1), False, 9)).shape == (1,)
