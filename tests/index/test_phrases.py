import pytest

from unbraid.index.search.phrases import holds_phrases, quoted_phrases


def test_phrases_are_what_stands_in_quotes_folded():
    assert quoted_phrases('find "Red  Kettle" and “Café” but not this') == ["red kettle", "cafe"]
    assert quoted_phrases('an open "quote') == quoted_phrases('"" " "') == []


@pytest.mark.parametrize(
    ("phrase", "text", "holds"),
    [
        ("red kettle", "The RED\n  kettle boils", True),
        ("red kettle", "a kettle that is red", False),
        ("red", "hundred", False),
        ("x = y", "if x = y:", True),
        ("café", "Cafe\u0301s and the cafe\u0301", True),
        ("def main(", "def main():", True),
    ],
)
def test_a_phrase_stands_whole_and_in_its_order(phrase, text, holds):
    assert holds_phrases(text, quoted_phrases(f'"{phrase}"')) is holds


def test_every_phrase_has_to_be_there():
    assert holds_phrases("one two three", ["one two", "three"])
    assert not holds_phrases("one two three", ["one two", "four"])
    assert holds_phrases("anything", [])
