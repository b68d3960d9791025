import numpy as np
import pytest

from unbraid.evaluation.word_evidence import WordIndex
from unbraid.index.search.relevance import idf
from unbraid.index.store.bm25 import AVERAGE_LENGTH


def test_bm25_of_an_index_by_hand():
    index = WordIndex(["cat sat", "dog ran"])
    weight = 2.2 / (1 + 1.2 * (0.25 + 0.75 * 2 / AVERAGE_LENGTH))  # frequency one, two words
    np.testing.assert_allclose(index("the cat").bm25, [np.log(2) * weight, 0], rtol=1e-6)
    assert not index("zebra").bm25.any() and not index("").bm25.any() and not index("the of").rare.any()


def test_a_single_word_and_names_that_few_documents_hold_are_marked():
    index = WordIndex(["cat E0382", "cat", "dog"])
    found = index("cat")
    assert found.single
    assert np.flatnonzero(found.rare).tolist() == [0, 1] and found.rare.max() <= 2.5 * idf(2, 3) + 1e-6
    found = index("cat e0382 owl")
    assert not found.single
    assert np.flatnonzero(found.rare).tolist() == [0] and found.rare[0] <= 2.5 * idf(1, 3) + 1e-6


def test_a_word_of_many_documents_is_not_rare():
    assert not WordIndex(["cat"] * 100)("cat").rare.any()


@pytest.mark.parametrize("documents", [[], [""], ["the"]])
def test_documents_without_words(documents):
    assert WordIndex(documents)("cat").bm25.tolist() == [0.0] * len(documents)
