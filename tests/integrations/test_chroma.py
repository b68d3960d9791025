import chromadb
import numpy as np
import pytest
from PIL import Image

import unbraid
from unbraid.errors import BundleError, ItemError
from unbraid.integrations.chroma import UnbraidEmbeddingFunction

TEXTS = ["the cat sleeps", "a dog in the house"]


@pytest.fixture
def client(tmp_path):
    made = chromadb.PersistentClient(tmp_path / "chroma")
    yield made
    made.close()


@pytest.fixture
def pixels(picture):
    return np.asarray(Image.open(picture))


def test_a_collection_asks_with_queries_and_keeps_documents(client, model, sides):
    notes = client.create_collection("notes", embedding_function=UnbraidEmbeddingFunction(model))
    notes.add(ids=TEXTS, documents=TEXTS)
    found = notes.query(query_texts=["cat"], n_results=2)
    cosines = (sides.queries(["cat"]) @ sides.documents(TEXTS).T)[0]
    distances = dict(zip(found["ids"][0], found["distances"][0], strict=True))
    assert distances == pytest.approx(dict(zip(TEXTS, (1 - cosines).tolist(), strict=True)), abs=1e-4)


def test_pictures_are_arrays_on_both_sides(client, model, picture, pixels, sides):
    pictures = client.create_collection("pictures", embedding_function=UnbraidEmbeddingFunction(model))
    pictures.add(ids=["as uint", "as float"], images=[pixels, pixels.astype(np.float64)])
    vectors = pictures.get(include=["embeddings"])["embeddings"]
    assert np.allclose(vectors, sides.documents([picture])[0], atol=1e-5)
    found = pictures.query(query_images=[pixels], n_results=1)["distances"][0][0]
    assert found == pytest.approx(1 - float(sides.queries([picture])[0] @ vectors[0]), abs=1e-4)


@pytest.mark.parametrize(
    "array",
    [np.full((2, 2, 3), 300), np.full((2, 2, 3), -1), np.zeros((0, 2, 3), int), np.zeros((2, 2, 7), int)],
)
def test_an_array_that_is_no_picture_is_refused(model, array):
    with pytest.raises(ItemError, match="a picture (of|has) shape"):
        UnbraidEmbeddingFunction(model)([array])


@pytest.mark.parametrize("array", [np.full((2, 2, 3), np.nan), np.full((2, 2, 3), np.inf)])
def test_numbers_that_are_not_finite_are_refused(model, array):
    with pytest.raises(ItemError, match="expected numbers of 0..255"):
        UnbraidEmbeddingFunction(model)([array])


def test_a_collection_remembers_its_function(client, model):
    made = UnbraidEmbeddingFunction(model, mode="code", dim=64, tier="nano")
    client.create_collection("notes", embedding_function=made).add(ids=["a"], documents=["getModel"])
    notes = client.get_collection("notes")
    distance = notes.query(query_texts=["get a model"], n_results=1)["distances"][0][0]
    query, document = made.embed_query(["get a model"])[0], made(["getModel"])[0]
    assert distance == pytest.approx(1 - float(query @ document), abs=1e-4)
    assert notes.configuration["hnsw"]["space"] == "cosine"


def test_another_model_in_its_place_is_refused_when_it_encodes(client, bundle_copy, tiers_folder):
    function = UnbraidEmbeddingFunction(str(bundle_copy))
    client.create_collection("notes", embedding_function=function).add(ids=["a"], documents=["cat"])
    stored = function.get_config()
    other = UnbraidEmbeddingFunction.build_from_config({**stored, "model": str(tiers_folder), "mode": "code"})
    assert client.get_collection("notes").count() == 1
    with pytest.raises(BundleError, match="stored vectors lie in space"):
        other.embed_query(["cat"])


def test_an_update_to_vectors_of_another_kind_is_refused(client, model):
    notes = client.create_collection("notes", embedding_function=UnbraidEmbeddingFunction(model))
    for other in (UnbraidEmbeddingFunction(model, mode="code"), UnbraidEmbeddingFunction(model, dim=64)):
        with pytest.raises(ItemError, match="make another collection"):
            notes.modify(configuration={"embedding_function": other})
    notes.modify(configuration={"embedding_function": UnbraidEmbeddingFunction(model, tier="nano")})


def test_code_and_texts_keep_their_kind(model, embedder):
    function = UnbraidEmbeddingFunction(model, mode="code")
    code = unbraid.Code("getModel")
    assert np.allclose(function.embed_query([code])[0], embedder.encode([code], task="code")[0])
