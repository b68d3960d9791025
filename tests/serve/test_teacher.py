"""A teacher behind the server."""

import io

import numpy as np
import pytest
from PIL import Image

from unbraid.serve import TeacherEngine


@pytest.fixture(scope="module")
def teacher(tiny_v4):
    from unbraid.teacher import load

    return load(tiny_v4, device="cpu")


@pytest.fixture(scope="module")
def taught(serving, teacher, no_vocabulary):
    with serving(TeacherEngine(teacher, no_vocabulary)) as http:
        yield http


def test_a_teacher_is_served_by_the_same_application(taught, teacher, vectors):
    items = ["a cat", "the red house"]
    found = vectors(taught.embed(items, task="retrieval.passage"))
    np.testing.assert_allclose(found, teacher.encode(items, "document"), atol=1e-5)
    shorter = vectors(taught.embed(items, task="query", dimensions=min(teacher.dims)))
    np.testing.assert_allclose(shorter, teacher.encode(items, "query", dim=min(teacher.dims)), atol=1e-5)
    default = vectors(taught.embed(items))
    np.testing.assert_allclose(default, teacher.encode(items, "symmetric"), atol=1e-5)


def test_a_teachers_pictures_and_multi_vectors_are_counted_and_served(taught, teacher, data_url):
    picture = Image.new("RGB", (60, 90), "red")
    content = io.BytesIO()
    picture.save(content, "PNG")
    answer = taught.embed(
        [{"image": data_url(content.getvalue())}, "a cat"], task="query", return_multivector=True
    )
    expected = teacher.encode([picture, "a cat"], "query", multi_vector=True)
    for one, want in zip(answer.json()["data"], expected, strict=True):
        assert one["object"] == "embeddings"
        np.testing.assert_allclose(one["embeddings"], want, atol=1e-5)
    assert answer.json()["usage"]["total_tokens"] == sum(len(one) for one in expected)


def test_what_a_teacher_cannot_do_is_refused(taught, refused):
    refused(taught.post("/v1/map", json={"base": [[1.0]], "task": "query"}), 400, "unsupported")
    refused(taught.post("/v1/search", json={"query": "a"}), 404, "no_index")
    refused(taught.embed([1, 2]), 400, "invalid_input")
    refused(taught.embed("a", return_multivector=True, dimensions=32), 400, "unsupported")
    refused(taught.embed("a", return_multivector=True, embedding_type="base64"), 400, "unsupported")
