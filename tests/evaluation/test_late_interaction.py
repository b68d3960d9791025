"""Late interaction on data sets: ranks by MaxSim, a budget of vectors, and the share of a teacher's."""

import numpy as np
import pytest
from PIL import Image

import unbraid
from unbraid.errors import ItemError
from unbraid.evaluation import Retrieval, Sts, evaluate_multi_vector, evaluate_teacher, table, teacher_scores
from unbraid.evaluation.late_interaction import Teacher, by_maxsim
from unbraid.multi_vector.maxsim import maxsim
from unbraid.multi_vector.token_vectors import TokenVectors

AXES = ["sun", "moon", "sea", "red"]
DOCUMENTS = {"d1": "sun red", "d2": "moon", "d3": "sea", "d4": ""}
QUERIES = {"q1": "sun", "q2": "moon", "q3": "sea red"}
SKY = Retrieval("sky", QUERIES, DOCUMENTS, {"q1": {"d1": 1}, "q2": {"d2": 1}, "q3": {"d3": 1, "d1": 1}})


def token_vectors(text):
    rows = [AXES.index(word) for word in text.split()]
    return np.eye(len(AXES), dtype=np.float32)[rows]


class FakeModel:
    """A token is an axis."""

    name, tier = "fake", "base"

    def __init__(self):
        self.asked = []

    def token_vectors(self, items, *, tier, pruned=True, progress=None):
        self.asked.append(tier)
        return [
            TokenVectors(
                token_vectors(item), np.ones(len(item.split()), np.float32), np.arange(len(item.split()))
            )
            for item in items
        ]


def teacher(encode):
    return Teacher("teacher t", encode, {"retrieval": ("query", "document"), "code": ("code", "code")})


def plain(items, task):
    return [token_vectors(item) for item in items]


def wrong(items, task):
    """Finds one of the three: its vectors of documents are those of the document that follows."""
    shift = 1 if task == "document" else 0
    return [np.roll(token_vectors(item), shift, axis=1) for item in items]


def test_every_document_is_ranked_by_maxsim():
    (row,) = evaluate_multi_vector(FakeModel(), SKY)
    assert (row.system, row.mode, row.n_documents) == ("fake, multi-vector", None, 4)
    assert row.scores["nDCG@10"].value == 1
    assert row.items_per_s > 0 and row.of_teacher is None


def test_both_sides_are_of_one_tier():
    model = FakeModel()
    evaluate_multi_vector(model, SKY)
    assert model.asked == ["base", "base"]


def test_a_budget_has_a_row_of_its_own():
    _, row = evaluate_multi_vector(FakeModel(), SKY, vectors=1)
    assert row.system == "fake, multi-vector, 1 a document"
    assert row.scores["nDCG@10"].value <= 1


def test_rows_say_their_share_of_the_teachers():
    rows = evaluate_multi_vector(FakeModel(), SKY, teacher=teacher(wrong))
    assert [row.system for row in rows] == ["fake, multi-vector", "teacher t, multi-vector"]
    assert [row.mode for row in rows] == [None, "retrieval"]
    assert rows[1].of_teacher == 1 < rows[0].of_teacher
    assert rows[0].of_teacher == pytest.approx(1 / rows[1].scores["nDCG@10"].value)
    assert "of teacher" in table(rows) and "of teacher" not in table(evaluate_multi_vector(FakeModel(), SKY))


def test_the_teacher_is_asked_in_the_tasks_of_the_mode():
    seen = []

    def noting(items, task):
        seen.append(task)
        return plain(items, task)

    evaluate_multi_vector(FakeModel(), SKY, teacher=teacher(noting))
    evaluate_multi_vector(FakeModel(), SKY, teacher=teacher(noting), mode="code")
    assert seen == ["query", "document", "code", "code"]


def test_a_mode_that_the_teacher_lacks_is_refused_before_any_work():
    model = FakeModel()
    with pytest.raises(ItemError, match="no search mode 'mine', only retrieval, code"):
        evaluate_multi_vector(model, SKY, teacher=teacher(plain), mode="mine")
    assert model.asked == []


def test_graded_pairs_have_no_late_interaction():
    assert evaluate_multi_vector(FakeModel(), Sts("s", ["sun"], ["sea"], [0.0])) == []


def test_a_teachers_modes_have_rows_for_late_interaction_and_budgets(monkeypatch):
    class Reference:
        name = "reference"

        def encode(self, texts):
            return np.ones((len(texts), 1), np.float32)

    monkeypatch.setattr(teacher_scores, "minilm", Reference)

    def single(items, task):
        return np.stack([token_vectors(item).sum(0) for item in items])

    modes = {"retrieval": ("query", "document")}
    rows = evaluate_teacher("t", single, modes, SKY, late=plain, vectors=1)
    assert [(row.system, row.mode) for row in rows] == [
        ("reference", None),
        *((f"t{form}", "retrieval") for form in ("", ", multi-vector", ", multi-vector, 1 a document")),
    ]


def test_the_ranking_is_that_of_maxsim_for_a_bundle(embedder):
    texts = ["the cat is in the house", "", "red river", "bright moon"]
    queries = embedder.token_vectors(["red moon", "the cat"], tier="small")
    documents = embedder.encode(texts, multi_vector=True, tier="small")
    expected = [maxsim(query, documents) for query in queries]
    np.testing.assert_array_equal(by_maxsim(queries, documents)(slice(0, 2)), expected)


def test_pictures_and_tiers_without_multi_vectors_are_refused(bundle_folder, embedder):
    picture = Retrieval("p", {"q": "sun"}, {"d": Image.new("RGB", (8, 8))}, {"q": {"d": 1}}, "text", "image")
    with pytest.raises(ItemError, match="pictures have no multi-vectors"):
        evaluate_multi_vector(embedder, picture)
    nano = unbraid.load(bundle_folder, tier="nano")
    with pytest.raises(ItemError, match="tier nano of .* has no multi-vectors: choose tier small"):
        evaluate_multi_vector(nano, SKY)
