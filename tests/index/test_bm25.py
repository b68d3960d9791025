import zlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbraid.index.store import bm25
from unbraid.index.store.bm25 import (
    ALONE,
    AVERAGE_LENGTH,
    K1,
    NAME,
    PICTURE,
    STEM,
    WORDS,
    B,
    document_words,
    held_terms,
    query_words,
    read_query,
    word_terms,
)
from unbraid.index.store.split_words import split_words
from unbraid.items import Modality
from unbraid.stop_words import STOP_WORDS


@given(st.text("ab_ .-9Aé漢字カ\n", max_size=80))
def test_a_chunk_holds_the_terms_of_each_of_its_words(text: str) -> None:
    words = [word for word in split_words(text) if word.whole not in STOP_WORDS]
    counts = Counter(term for word in words for term in bm25._terms(word))
    spread = K1 * (1 - B + B * len(words) / AVERAGE_LENGTH)
    expected = {
        zlib.crc32(term.encode()): np.float32(count * (K1 + 1) / (count + spread))
        for term, count in counts.items()
    }
    held = document_words(text)
    assert dict(zip(held.indices, map(np.float32, held.values), strict=True)) == expected


def score(query: str, text: str, path: str = "", modality: Modality = "text", context: str = "") -> float:
    """The inner product without IDF."""
    held = document_words(text, path, modality, context)
    weights = dict(zip(held.indices, held.values, strict=True))
    asked = query_words(query)
    return sum(
        value * weights.get(term, 0.0) for term, value in zip(asked.indices, asked.values, strict=True)
    )


def test_weights_by_hand():
    # "quick" twice in two words: tf (k1 + 1) / (tf + k1 (1 - b + b length / average))
    (weight,) = document_words("the quick Quick").values
    assert weight == pytest.approx(2 * 2.2 / (2 + 1.2 * (0.25 + 0.75 * 2 / AVERAGE_LENGTH)), rel=1e-6)
    assert sorted(query_words("quick quick").values) == pytest.approx([STEM, STEM, NAME, 1.0])


def test_a_word_itself_counts_more_than_its_stem_and_a_part():
    itself, ending, part = score("hashing", "hashing"), score("hashing", "hashed"), score("getName", "name")
    assert itself > 2 * ending > 0 and 0 < part < score("getName", "getName") / 2


def test_a_word_alone_is_not_found_by_the_stem_of_another_one():
    (itself, _) = read_query("silent").alone
    assert set(itself.indices) & set(document_words("silent").indices)
    assert not set(itself.indices) & set(document_words("silently").indices)
    assert score("silent", "silently") > 0 and word_terms("silent") & word_terms("silently")


@given(st.text(max_size=60), st.text(max_size=60))
def test_held_terms_are_those_of_both_texts(one, other):
    terms = word_terms(one)
    assert held_terms(other, terms) == terms & word_terms(other)


def test_the_one_word_of_a_query_is_searched_for_as_an_exact_name_too():
    (_, exact) = read_query("Handler").alone
    held = [
        bool(set(exact.indices) & set(document_words(text, "/handler.py", kind, "class Handler").indices))
        for text, kind in [
            ("class Handler(Base):", "code"),
            ("# Handler", "text"),
            ("class MyHandler:", "code"),
            ("Handler()", "code"),
        ]
    ]
    assert held == [True, True, False, False]


def test_case_stop_words_and_accents_do_not_count():
    assert document_words("The Résumé").indices == document_words("resume").indices


def test_a_chunk_is_found_by_the_names_of_its_file_and_folders():
    path = "/home/me/projects/lib/selector_events.py"
    inside, beside = (score("selector events", "import x", one) for one in (path, "/home/me/other.py"))
    assert inside > 0 == beside
    assert inside > score("projects", "import x", path) > 0
    assert score("home", "import x", path) == 0  # only the nearest folders
    assert score("selector_events.py", "", path) > score("selector events", "", path)


def test_what_stands_around_a_chunk_counts_less_than_its_own_words():
    own, around = document_words("kettle"), document_words("", context="Tea > Kettle")
    rare = dict(zip(query_words("kettle").indices, query_words("kettle").values, strict=True))
    value = [sum(rare.get(n, 0) * v for n, v in zip(x.indices, x.values, strict=True)) for x in (own, around)]
    assert value[0] > value[1] > 0


def test_the_name_of_a_picture_counts_most():
    picture = score("stonehenge", "", "/p/stonehenge.jpg", "image")
    assert picture == pytest.approx(PICTURE * NAME, rel=1e-6)
    assert picture > score("stonehenge", "Stonehenge " + "and other words " * 30)
    words_in_it = score("stonehenge", "tickets", "/p/stonehenge.jpg")
    assert words_in_it == picture
    page, text = (score("stonehenge", "", "/p/stonehenge.pdf", kind) for kind in ("image", "text"))
    assert page == text < picture


@pytest.mark.parametrize(
    "name", ["IMG_2041", "DSC00017", "PXL_20240101_120000", "20240501", "Screenshot 12", "image (3)"]
)
def test_a_name_that_a_camera_gave_adds_nothing(name):
    assert (
        document_words("", f"/p/{name}.jpg", "image").indices
        == document_words("", "/p/7.jpg", "image").indices
    )


@pytest.mark.parametrize(
    "code",
    [
        "def parse(x):",
        "class parse:",
        "export async function parse() {",
        "pub fn parse<T>()",
        "func (s *S) parse()",
    ],
)
def test_the_definition_of_a_name_counts_more_than_its_use(code):
    use = "parse(x)\nparse(y)"
    assert score("parse", code, "", "code") > score("parse", use, "", "code")
    assert score("parse", "def parse(x):", "", "text") < score("parse", "def parse(x):", "", "code")


def test_a_heading_counts_more_than_the_same_words_below_it():
    assert score("red kettles", "## Red kettles\n\nText") > score("red kettles", "Red kettles\n\nText")


def test_a_single_word_and_words_that_look_like_names_are_searched_for_alone():
    asked = read_query("error E0382 in snake_case of GitHub v1.2 here")
    expected = [read_query(one).alone[0].indices for one in ("E0382", "snake_case", "GitHub", "v1.2")]
    assert [one.indices for one in asked.alone] == expected and not asked.single
    assert (
        read_query("error").single and len(read_query("error").alone) == 2
    )  # the word, and what is named so
    assert read_query("two words").alone == []


def test_a_very_long_query_is_bounded():
    asked = read_query(" ".join(f"word{n}" for n in range(10 * WORDS)))
    assert len(asked.alone) == ALONE and len(asked.terms.indices) <= 8 * WORDS


@pytest.mark.parametrize("text", ["", "the of", "\x00", "...", "🐝"])
def test_a_text_without_words_has_none(text):
    assert not document_words(text).indices
    assert not query_words(text).indices and not read_query(text)


@given(st.text(max_size=200))
def test_any_text_gives_distinct_words_with_positive_weights_and_is_found_by_each(text):
    held, asked = document_words(text, "/a/b.py", "code"), read_query(text)
    assert len(set(held.indices)) == len(held.indices) == len(held.values)
    assert all(0 < value <= 2.2 + 1e-6 for value in held.values)
    assert bool(asked) == bool(word_terms(text))
    for one in asked.alone[:1] if asked.single else asked.alone:
        assert set(one.indices) & set(held.indices)
