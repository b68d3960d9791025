import importlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbraid.index.store.bm25 import AVERAGE_LENGTH, document_words, query_words

ROOT = Path(__file__).parents[2]


def words(text: str) -> set[int]:
    return set(query_words(text).indices)


def test_weights_by_hand():
    # "quick" twice in two words: tf (k1 + 1) / (tf + k1 (1 - b + b length / average))
    (weight,) = document_words("the quick Quick").values
    assert weight == pytest.approx(2 * 2.2 / (2 + 1.2 * (0.25 + 0.75 * 2 / AVERAGE_LENGTH)), rel=1e-6)
    assert query_words("quick quick").values == [1.0]


def test_case_stop_words_and_endings_do_not_count():
    assert words("The Rotating keys") == words("rotate key")


def test_identifiers_are_words_in_prose_and_code():
    assert words("getHTTPName") == words("get_http_name") == words("get http name")


@pytest.mark.parametrize("text", ["", "the of", "\x00", "\ud800", "...", "🐝"])
def test_a_text_without_words_has_none(text):
    assert not document_words(text).indices
    assert not query_words(text).indices


@given(st.text(max_size=200))
def test_any_text_gives_distinct_words_with_positive_weights(text):
    terms = document_words(text)
    assert len(set(terms.indices)) == len(terms.indices) == len(terms.values)
    assert all(0 < value <= 2.2 for value in terms.values)
    assert set(terms.indices) == words(text)


def test_the_order_is_much_that_of_bm25s():  # on this repository's own text; without stems and with its length
    bm25s = importlib.import_module("bm25s")
    documents = [
        part for part in (ROOT / "docs" / "decisions.md").read_text().split("\n\n") if len(part) > 200
    ]
    queries = [document.partition(". ")[0] for document in documents[:20]]
    split = {"stopwords": "en", "return_ids": False, "show_progress": False}
    index = bm25s.BM25(k1=1.2)
    index.index(bm25s.tokenize(documents, **split), show_progress=False)
    stored = [dict(zip(t.indices, t.values, strict=True)) for t in map(document_words, documents)]
    agreement = []
    for query, tokens in zip(queries, bm25s.tokenize(queries, **split), strict=True):
        ours = np.zeros(len(documents))
        for word in words(query):
            n = sum(word in one for one in stored)
            idf = np.log(1 + (len(documents) - n + 0.5) / (n + 0.5))
            ours += [idf * one.get(word, 0.0) for one in stored]
        theirs = index.get_scores(tokens)
        assert ours.argmax() == theirs.argmax()
        agreement.append(np.corrcoef(ours, theirs)[0, 1])
    assert np.mean(agreement) > 0.9
    assert min(agreement) > 0.8
