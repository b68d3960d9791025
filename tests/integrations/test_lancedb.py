import lancedb
import numpy as np
import pyarrow as pa
import pytest
from lancedb.embeddings import EmbeddingFunctionConfig, get_registry
from lancedb.pydantic import LanceModel, Vector
from pydantic import ValidationError

from unbraid.errors import BundleError, ItemError
from unbraid.integrations.lancedb import UnbraidEmbeddings

TEXTS = ["the cat sleeps", "a dog in the house"]


@pytest.fixture
def database(tmp_path):
    return lancedb.connect(tmp_path / "lance")


@pytest.fixture
def function(model):
    return UnbraidEmbeddings.create(model=model)


def notes_of(database, function):
    class Note(LanceModel):
        text: str = function.SourceField()
        vector: Vector(function.ndims()) = function.VectorField()

    notes = database.create_table("notes", schema=Note)
    notes.add([{"text": text} for text in TEXTS])
    return notes


def test_a_table_asks_with_queries_and_keeps_documents(database, function, sides):
    notes = notes_of(database, function)
    rows = notes.search("cat").metric("cosine").to_list()
    cosines = (sides.queries(["cat"]) @ sides.documents(TEXTS).T)[0]
    found = {row["text"]: 1 - row["_distance"] for row in rows}
    assert found == pytest.approx(dict(zip(TEXTS, cosines.tolist(), strict=True)), abs=1e-4)


def test_pictures_are_bytes_and_a_null_has_no_vector(database, function, picture, sides):
    column = pa.array([picture.read_bytes(), None], pa.binary())
    config = EmbeddingFunctionConfig(vector_column="vector", source_column="picture", function=function)
    pictures = database.create_table(
        "pictures", pa.table({"picture": column}), embedding_functions=[config], on_bad_vectors="null"
    )
    first, second = pictures.to_arrow()["vector"].to_pylist()
    assert np.allclose(first, sides.documents([picture])[0], atol=1e-5)
    assert second is None
    for query in (picture, "the cat"):
        assert pictures.search(query).limit(1).to_list()[0]["picture"] == picture.read_bytes()


@pytest.mark.parametrize(
    "column", [pa.array(TEXTS), pa.chunked_array([TEXTS[:1], TEXTS[1:]]), TEXTS, TEXTS[0]]
)
def test_columns_of_every_kind_give_the_same(function, sides, column):
    found = function.compute_source_embeddings(column)
    assert np.array_equal(found, sides.documents(TEXTS[: len(found)]))


def test_a_table_remembers_its_function(database, model):
    made = get_registry().get("unbraid").create(model=model, mode="code", dim=64, tier="nano")
    notes_of(database, made)
    again = lancedb.connect(database.uri).open_table("notes")
    (function,) = again.embedding_functions.values()
    query = function.function.compute_query_embeddings("get a model")
    assert np.array_equal(query, made.compute_query_embeddings("get a model"))
    assert len(again.search("get a model").to_list()) == 2


def test_another_model_in_its_place_is_refused(database, function, model):
    stored = {**function.safe_model_dump(), "mode": "symmetric"}
    other = UnbraidEmbeddings.create(**stored)
    for encode in (other.compute_query_embeddings_with_retry, other.compute_source_embeddings_with_retry):
        with pytest.raises(BundleError, match="stored vectors lie in space"):
            encode("cat")


def test_an_error_comes_at_once_and_as_it_is(model):
    with pytest.raises(ItemError, match="unknown mode 'cod'"):
        UnbraidEmbeddings.create(model=model, mode="cod").compute_source_embeddings_with_retry(TEXTS)


def test_a_misspelt_option_is_refused(model):
    with pytest.raises(ValidationError, match="mdoe"):
        UnbraidEmbeddings.create(model=model, mdoe="code")
