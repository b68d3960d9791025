import numpy as np
import pytest
from fastembed import ImageEmbedding, TextEmbedding
from qdrant_client import QdrantClient, models

from unbraid.errors import ItemError
from unbraid.integrations import fastembed
from unbraid.integrations.fastembed import add_model

TEXTS = ["the cat sleeps", "a dog in the house"]


@pytest.fixture(autouse=True)
def added(monkeypatch, model):
    """Only the models of the test, and FastEmbed's own."""
    monkeypatch.setattr(fastembed, "_added", {})
    for kind in (TextEmbedding, ImageEmbedding):
        monkeypatch.setattr(kind, "EMBEDDINGS_REGISTRY", list(kind.EMBEDDINGS_REGISTRY))
    add_model("tiny", model)


def test_qdrants_client_asks_with_queries_and_keeps_documents(picture, sides):
    client = QdrantClient(":memory:")
    size = client.get_embedding_size("tiny")
    client.create_collection("notes", models.VectorParams(size=size, distance=models.Distance.COSINE))
    vectors = [models.Document(text=text, model="tiny") for text in TEXTS]
    vectors.append(models.Image(image=str(picture), model="tiny"))
    points = [models.PointStruct(id=row, vector=vector) for row, vector in enumerate(vectors)]
    client.upsert("notes", points)
    found = client.query_points("notes", query=models.Document(text="cat", model="tiny")).points
    cosines = (sides.queries(["cat"]) @ sides.documents([*TEXTS, picture]).T)[0]
    assert {point.id: point.score for point in found} == pytest.approx(dict(enumerate(cosines)), abs=1e-4)
    client.close()


def test_fastembed_gives_the_embedders_own_vectors(sides, picture):
    text, image = TextEmbedding("Tiny"), ImageEmbedding("tiny")
    assert np.array_equal(list(text.embed(iter(TEXTS), batch_size=1)), sides.documents(TEXTS))
    assert np.array_equal(list(text.passage_embed(TEXTS)), sides.documents(TEXTS))
    assert np.array_equal(list(text.query_embed(TEXTS)), sides.queries(TEXTS))
    assert np.array_equal(list(text.query_embed("cat")), sides.queries(["cat"]))
    assert np.array_equal(list(text.embed("cat")), sides.documents(["cat"]))
    expected = sides.documents([picture])
    for given in (str(picture), picture, [str(picture)], iter([picture])):
        assert np.allclose(list(image.embed(given)), expected, atol=1e-5)


def test_options_make_models_beside_each_other(model):
    add_model("tiny-code", model, mode="code", dim=64, tier="nano")
    assert TextEmbedding("tiny-code").embedding_size == TextEmbedding.get_embedding_size("tiny-code") == 64
    assert next(iter(TextEmbedding("tiny-code").embed("getModel"))).shape == (64,)
    assert TextEmbedding("tiny").embedding_size == 512


def test_adding_again_does_nothing_and_a_taken_name_is_refused(model):
    add_model("tiny", model)
    assert [one["model"] for one in TextEmbedding.list_supported_models()].count("tiny") == 1
    for name in ("tiny", "Tiny", "BAAI/bge-small-en-v1.5", "Qdrant/clip-ViT-B-32-vision"):
        with pytest.raises(ItemError, match="choose another name"):
            add_model(name, model, dim=64)


def test_a_model_that_fails_is_not_added(model):
    with pytest.raises(ItemError, match="unknown mode"):
        add_model("broken", model, mode="cod")
    assert "broken" not in [one["model"] for one in TextEmbedding.list_supported_models()]


@pytest.mark.parametrize(
    "options", [{"threads": 1}, {"cuda": True}, {"providers": ["CPUExecutionProvider"]}, {"device_ids": [0]}]
)
def test_what_would_be_ignored_is_refused(options):
    for kind in (TextEmbedding, ImageEmbedding):
        with pytest.raises(ItemError, match=f"leave out {min(options)}"):
            kind("tiny", **options)


def test_worker_processes_are_refused(picture):
    for vectors in (
        TextEmbedding("tiny").embed(TEXTS, parallel=2),
        TextEmbedding("tiny").query_embed(TEXTS, parallel=0),
        ImageEmbedding("tiny").embed([picture], parallel=2),
    ):
        with pytest.raises(ItemError, match="parallel is"):
            next(iter(vectors))
