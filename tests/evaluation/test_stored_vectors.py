import numpy as np
import pytest

from unbraid.evaluation.metrics import rank
from unbraid.evaluation.stored_vectors import RESCORED, stored_forms
from unbraid.vectors import normalize

RNG = np.random.default_rng(0)
TURNED = np.linalg.qr(RNG.standard_normal((512, 512)))[0].astype(np.float32)


class Turned:
    """A model whose only task turns the base space."""

    def map(self, base, task):
        assert task in ("query", "document")
        return normalize(base @ TURNED.T)

    def matrix(self, task):
        assert task == "document"
        return TURNED


@pytest.fixture(scope="module")
def queries_and_documents():
    documents = normalize(RNG.standard_normal((600, 512)))
    return normalize(documents[:20] + 0.6 * normalize(RNG.standard_normal((20, 512)))), documents


@pytest.fixture(scope="module")
def forms(queries_and_documents):
    return stored_forms(Turned(), *queries_and_documents, "query", "document")


def test_there_are_prefixes_int8_and_binary(forms):
    assert list(forms) == ["256 dims", "128 dims", "64 dims", "int8", f"binary, {RESCORED} re-scored in int8"]


def test_every_form_finds_the_document_a_query_was_made_of(forms):
    for scorer in forms.values():
        assert rank(scorer, 20, 600, k=1)[:, 0].tolist() == list(range(20))


def test_int8_scores_are_cosines_to_a_thousandth(forms, queries_and_documents):
    queries, documents = queries_and_documents
    np.testing.assert_allclose(forms["int8"](slice(3, 7)), queries[3:7] @ documents.T, atol=2e-3)


def test_only_candidates_are_scored_again_and_the_rest_comes_last(forms):
    whole, chosen = forms["int8"](slice(0, 5)), forms["binary, 100 re-scored in int8"](slice(0, 5))
    again = chosen > -1
    assert (again.sum(axis=1) == RESCORED).all()
    np.testing.assert_allclose(chosen[again], whole[again], atol=1e-6)


def test_prefixes_of_short_vectors_are_left_out():
    class Short(Turned):
        def map(self, base, task):
            return base

        def matrix(self, task):
            return np.eye(128, dtype=np.float32)

    vectors = normalize(RNG.standard_normal((4, 128)))
    assert next(iter(stored_forms(Short(), vectors, vectors, "query", "document"))) == "64 dims"
