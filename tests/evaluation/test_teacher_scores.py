"""Every task of a model on one data set, with vectors that are made by hand."""

import numpy as np
import pytest

from unbraid.evaluation import Retrieval, Sts, evaluate_teacher, teacher_scores
from unbraid.items import Code

MODES = {
    "retrieval": ("query", "document"),
    "symmetric": ("symmetric", "symmetric"),
    "code": ("code", "code"),
}
DOCUMENTS = {"d1": "sun", "d2": "moon", "d3": "sea"}
QUERIES = {"q1": "day", "q2": "night", "q3": "water"}
QRELS = {"q1": {"d1": 1}, "q2": {"d2": 1}, "q3": {"d3": 1}}
SETS = Retrieval("sky", QUERIES, DOCUMENTS, QRELS)
GRADED = Sts("pairs", ["day", "day", "night"], ["sun", "moon", "sea"], [5.0, 3.0, 0.0])

PLACE = {"sun": 0, "moon": 1, "sea": 2, "day": 0, "night": 1, "water": 2}


def encode(items, task):
    """As a query or a document an item is one axis; otherwise a query lies next to a wrong document."""
    shift = 0 if task in ("query", "document") or items[0] in DOCUMENTS.values() else 1
    return np.eye(3, dtype=np.float32)[[(PLACE[str(item)] + shift) % 3 for item in items]]


class Reference:
    """Stands for all-MiniLM-L6-v2; everything is the same to it but "sea" and "water"."""

    name = "reference"

    def __init__(self):
        self.seen = []

    def encode(self, texts):
        self.seen += texts
        return np.eye(2, dtype=np.float32)[[int(text in ("sea", "water")) for text in texts]]


@pytest.fixture(autouse=True)
def reference(monkeypatch):
    made = Reference()
    monkeypatch.setattr(teacher_scores, "minilm", lambda: made)
    return made


def test_there_is_a_row_for_the_reference_and_one_for_each_mode():
    rows = evaluate_teacher("model", encode, MODES, SETS)
    expected = [("reference", None), *(("model", mode) for mode in MODES)]
    assert [(row.system, row.mode) for row in rows] == expected
    assert {(row.dataset, row.kind, row.n_queries, row.n_documents) for row in rows} == {
        ("sky", "text", 3, 3)
    }


def test_the_mode_of_the_tasks_that_fit_wins():
    _, *rows = evaluate_teacher("model", encode, MODES, SETS)
    scores = {row.mode: row.scores["MRR@10"].value for row in rows}
    assert scores["retrieval"] == 1
    assert scores["symmetric"] == scores["code"] <= 0.5


def test_the_tasks_of_a_mode_go_to_its_two_sides():
    asked = []

    def noting(items, task):
        asked.append((tuple(items), task))
        return encode(items, task)

    evaluate_teacher("model", noting, {"retrieval": MODES["retrieval"]}, SETS)
    assert asked == [(tuple(QUERIES.values()), "query"), (tuple(DOCUMENTS.values()), "document")]


def test_graded_pairs_are_scored_by_spearman():
    def graded(items, task):
        cosines = {"day": 1.0, "night": 1.0, "sun": 1.0, "moon": 0.5, "sea": -0.5}
        c = np.array([cosines[item] for item in items])
        sign = -1 if task == "code" and items[0] == "sun" else 1
        return np.stack([sign * c, np.sqrt(1 - c * c)], 1).astype(np.float32)

    _, *rows = evaluate_teacher("model", graded, MODES, GRADED)
    assert {row.mode: round(row.scores["Spearman"].value, 6) for row in rows} == {
        "retrieval": 1.0,
        "symmetric": 1.0,
        "code": -1.0,
    }
    assert {(row.kind, row.n_queries) for row in rows} == {("sts", 3)}


def test_the_reference_reads_code_as_plain_text(reference):
    documents = {name: Code(text) for name, text in DOCUMENTS.items()}
    evaluate_teacher(
        "model", encode, {}, Retrieval("sky", QUERIES, documents, QRELS, document_modality="code")
    )
    assert {type(text) for text in reference.seen} == {str}


def test_a_limit_keeps_that_many_queries_and_every_document():
    rows = evaluate_teacher("model", encode, MODES, SETS, limit=2)
    assert {(row.n_queries, row.n_documents) for row in rows} == {(2, 3)}
    assert {row.n_queries for row in evaluate_teacher("model", encode, MODES, GRADED, limit=2)} == {2}
