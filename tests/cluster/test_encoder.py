import numpy as np
import pytest

import unbraid
from unbraid import Code
from unbraid.cluster.encoder import EncoderSpec, load_encoder
from unbraid.cluster.row_items import encode_rows
from unbraid.custom_mapper.mapper_file import CustomMapper
from unbraid.errors import ItemError

ITEMS = ["moon", Code("return self")]


def test_a_student_gives_what_encode_gives_and_says_where_it_comes_from(bundle_folder):
    model = unbraid.load(bundle_folder, tier="nano")
    encoder = load_encoder(EncoderSpec(str(bundle_folder), "nano", task="code", dim=64, numbers="int8"))
    vectors = encoder.encode(ITEMS)
    np.testing.assert_array_equal(vectors, model.encode(ITEMS, task="code", dim=64, numbers="int8"))
    assert (encoder.empty.shape, encoder.empty.dtype) == ((0, 64), np.int8)
    assert encoder.about["base_id"] == model.base_id
    assert encoder.about["mapper_id"] == model.bundle.mappers["code"].id
    assert (encoder.about["tier"], encoder.about["numbers"]) == ("nano", "int8")


def test_a_mapper_file_is_a_task(bundle_folder, tmp_path):
    model = unbraid.load(bundle_folder)
    turn = np.roll(np.eye(512, dtype=np.float32), 1, axis=0)
    CustomMapper("own", model.base_id, np.eye(512, dtype=np.float32), turn).save(tmp_path / "own.mapper")
    spec = EncoderSpec(str(bundle_folder), task=str(tmp_path / "own.mapper"), side="document")
    base = model.encode(ITEMS)
    np.testing.assert_allclose(load_encoder(spec).encode(ITEMS), np.roll(base, 1, axis=1), atol=1e-6)


def test_a_task_that_the_bundle_lacks_is_refused_before_any_row(bundle_folder):
    with pytest.raises(ItemError, match="unknown task 'poetry'"):
        load_encoder(EncoderSpec(str(bundle_folder), task="poetry"))


def test_a_teacher_gives_task_vectors_and_says_where_they_come_from(tiny_v4):
    from unbraid.teacher import load

    teacher = load(tiny_v4)
    encoder = load_encoder(EncoderSpec(teacher=str(tiny_v4), task="query", numbers="float16"))
    vectors = encoder.encode(ITEMS)
    assert vectors.dtype == np.float16
    np.testing.assert_allclose(vectors, teacher.encode(ITEMS, "query"), atol=1e-3)
    assert encoder.empty.shape == (0, teacher.dim)
    assert (encoder.about["teacher"], encoder.about["task"]) == (teacher.id, "query")


def test_a_large_jpeg_given_as_bytes_has_the_vector_of_its_file(method_folder, large_jpeg, tmp_path):
    (tmp_path / "large.jpg").write_bytes(large_jpeg)
    encoder = load_encoder(EncoderSpec(str(method_folder)))
    vectors = np.zeros((2, 512), np.float32)
    contents = [large_jpeg, "large.jpg"]
    assert encode_rows(contents, "image", tmp_path, encoder.encode, vectors, encoder.at_least) == [None, None]
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)
