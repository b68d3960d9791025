"""Where the words of a query stand in a snippet."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbraid.index.search.marks import mark_words
from unbraid.index.store.bm25 import word_terms

ALPHABET = "abc ABé. _-\n東京都ｶﾞไทย\N{PILE OF POO}"


@pytest.mark.parametrize(
    ("query", "text", "marked"),
    [
        ("key", "Keys: rotate the key-ring", ["Keys", "key-ring"]),
        ("the key", "the lock", []),  # a stop word finds nothing
        ("name", "getName(v1)", ["getName"]),
        ("QX7", "\N{PILE OF POO} QX7\nqx7!", ["QX7", "qx7"]),
        ("cafe", "Café, caf", ["Café"]),
        ("東京", "京都と東京都", ["東京"]),
        ("東京都", "京都と東京都", ["京都", "東京都"]),
        ("東", "東京と東", ["東", "東"]),
        ("", "anything", []),
        ("<b>", "<b>bold</b>", ["b", "b"]),
    ],
)
def test_words_that_share_a_term_are_marked(query, text, marked):
    assert [text[start:end] for start, end in mark_words(text, word_terms(query))] == marked


@given(st.text(ALPHABET), st.text(ALPHABET, max_size=6))
def test_marks_stand_in_order_within_the_text_and_its_lines(text, query):
    marks = mark_words(text, word_terms(query))
    flat = [place for mark in marks for place in mark]
    assert flat == sorted(flat) and all(0 <= start < end <= len(text) for start, end in marks)
    assert not any("\n" in text[start:end] for start, end in marks)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(marks))
