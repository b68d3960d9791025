import asyncio
import pickle
from io import BytesIO

import numpy as np
import pytest
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.schema import ImageNode, MetadataMode, QueryBundle
from pydantic import ValidationError

from unbraid.errors import ItemError
from unbraid.integrations.llama_index import UnbraidEmbedding, UnbraidRetriever

TEXTS = ["the cat sleeps", "a dog in the house"]


@pytest.fixture
def embedding(model):
    return UnbraidEmbedding(model_name=model)


def test_an_index_of_llama_index_asks_with_queries_and_keeps_documents(embedding, sides):
    documents = [Document(text=text) for text in TEXTS]
    nodes = VectorStoreIndex.from_documents(documents, embed_model=embedding)
    found = {hit.text: hit.score for hit in nodes.as_retriever(similarity_top_k=2).retrieve("cat")}
    cosines = (sides.queries(["cat"]) @ sides.documents(TEXTS).T)[0]
    assert found == pytest.approx(dict(zip(TEXTS, cosines.tolist(), strict=True)), abs=1e-5)


def test_pictures_by_path_or_content_are_documents(embedding, picture, sides):
    expected = sides.documents([picture])[0]
    for given in (str(picture), BytesIO(picture.read_bytes())):
        assert np.allclose(embedding.get_image_embedding(given), expected, atol=1e-5)
    assert len(embedding.get_image_embedding_batch([str(picture)] * 12)) == 12


def test_asynchronous_methods_give_the_same(embedding, picture):
    async def each():
        return (
            await embedding.aget_query_embedding("cat"),
            await embedding.aget_text_embedding("cat"),
            await embedding.aget_text_embedding_batch(TEXTS),
            await embedding.aget_image_embedding(str(picture)),
            await embedding.aget_image_embedding_batch([str(picture)]),
        )

    picture_vector = embedding.get_image_embedding(str(picture))
    assert asyncio.run(each()) == (
        embedding.get_query_embedding("cat"),
        embedding.get_text_embedding("cat"),
        embedding.get_text_embedding_batch(TEXTS),
        picture_vector,
        [picture_vector],
    )


def test_it_is_stored_and_pickled_by_its_options(model):
    made = UnbraidEmbedding(model_name=model, mode="code", dim=64, tier="nano")
    for again in (UnbraidEmbedding.from_dict(made.to_dict()), pickle.loads(pickle.dumps(made))):
        assert (again.mode, again.dim, again.tier) == ("code", 64, "nano")
        assert again.get_text_embedding("getModel") == made.get_text_embedding("getModel")


def test_a_misspelt_option_is_refused(model, index):
    with pytest.raises(ValidationError, match="mdoe"):
        UnbraidEmbedding(model_name=model, mdoe="code")
    with pytest.raises(ItemError, match="'kk'"):
        UnbraidRetriever(index, {"kk": 3})


def test_a_retriever_gives_hits_as_nodes(index):
    nodes = UnbraidRetriever(index, {"k": 2}).retrieve("the cat sleeps")
    hits = index.search("the cat sleeps", k=2)
    assert [(node.text, node.score) for node in nodes] == [(hit.snippet, hit.score) for hit in hits]
    assert nodes[0].metadata["place"] == hits[0].place
    shown = nodes[0].node.get_content(MetadataMode.LLM)
    assert f"place: {hits[0].place}" in shown
    assert "score" not in shown


def test_a_retriever_asks_by_a_picture_alone_and_with_words(index, picture):
    retriever = UnbraidRetriever(index, {"modality": "image"})
    for words in ("", "the cat"):
        (node,) = retriever.retrieve(QueryBundle(words, image_path=str(picture)))
        assert isinstance(node.node, ImageNode)
        assert node.node.image_path == str(picture)


def test_a_retriever_may_be_awaited(index):
    retriever = UnbraidRetriever(index)
    found = asyncio.run(retriever.aretrieve("the cat"))
    assert [node.text for node in found] == [node.text for node in retriever.retrieve("the cat")]
