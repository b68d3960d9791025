import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbraid.io.surrogates import replace_lone_surrogates


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\ud800b", "a\ufffdb"),
        ("\udc00", "\ufffd"),
        ("\ud83d\ude00", "\U0001f600"),
        ("", ""),
        ("\ufeffcat", "\ufeffcat"),
    ],
)
def test_a_lone_surrogate_becomes_the_replacement_character(text, expected):
    assert replace_lone_surrogates(text) == expected


@given(st.text())
def test_text_without_surrogates_is_itself(text):
    assert replace_lone_surrogates(text) == text


@given(st.text(st.characters(categories=["Cs", "L"])))
def test_the_result_can_be_written_as_utf_8(text):
    replace_lone_surrogates(text).encode("utf-8")
