import asyncio
import pickle

import numpy as np
import pytest
from langchain_core.vectorstores import InMemoryVectorStore
from pydantic import ValidationError

from unbraid.integrations.langchain import UnbraidEmbeddings, UnbraidRetriever

TEXTS = ["the cat sleeps", "a dog in the house"]


@pytest.fixture
def embeddings(model):
    return UnbraidEmbeddings(model)


def test_a_vector_store_asks_with_queries_and_keeps_documents(embeddings, sides):
    store = InMemoryVectorStore.from_texts(TEXTS, embeddings)
    found = {one.page_content: score for one, score in store.similarity_search_with_score("cat", k=2)}
    cosines = (sides.queries(["cat"]) @ sides.documents(TEXTS).T)[0]
    assert found == pytest.approx(dict(zip(TEXTS, cosines.tolist(), strict=True)), abs=1e-5)


def test_vectors_are_lists_of_floats(embeddings):
    vectors = embeddings.embed_documents(TEXTS)
    assert {type(vectors), type(vectors[0]), type(vectors[0][0])} == {list, float}
    assert embeddings.embed_documents([]) == []


def test_asynchronous_methods_give_the_same(embeddings):
    async def both():
        return await asyncio.gather(embeddings.aembed_documents(TEXTS), embeddings.aembed_query("cat"))

    assert asyncio.run(both()) == [embeddings.embed_documents(TEXTS), embeddings.embed_query("cat")]


def test_pictures_are_documents(embeddings, picture, sides):
    assert np.allclose(embeddings.embed_image([str(picture)]), sides.documents([picture]), atol=1e-5)


def test_options_reach_the_encoder(model):
    assert len(UnbraidEmbeddings(model, mode="code", dim=64, tier="nano").embed_query("cat")) == 64


def test_embeddings_may_go_to_another_process(embeddings):
    assert pickle.loads(pickle.dumps(embeddings)).embed_query("cat") == embeddings.embed_query("cat")


def test_a_retriever_gives_hits_as_documents(index):
    documents = UnbraidRetriever(index=index, options={"min_score": 0.0}).invoke("the cat sleeps")
    hits = index.search("the cat sleeps")
    assert [one.page_content for one in documents] == [hit.snippet for hit in hits]
    best = documents[0].metadata
    assert best["path"].endswith("cat.md")
    assert (best["place"], best["score"], best["within"]) == (hits[0].place, hits[0].score, hits[0].within)
    assert (best["modality"], best["first_line"]) == ("text", hits[0].first_line)


def test_a_retriever_filters(index):
    retriever = UnbraidRetriever(index=index, options={"path": "*dog.md", "k": 5})
    assert {one.metadata["path"].rsplit("/")[-1] for one in retriever.invoke("house")} <= {"dog.md"}


def test_many_threads_and_tasks_may_use_a_retriever(index):
    retriever = UnbraidRetriever(index=index)
    queries = ["the cat", "a dog", "green garden", "red house"] * 4
    alone = [[one.page_content for one in retriever.invoke(query)] for query in queries]
    together = retriever.batch(queries)
    apart = asyncio.run(retriever.abatch(queries))
    assert [[one.page_content for one in each] for each in together] == alone
    assert [[one.page_content for one in each] for each in apart] == alone


def test_a_misspelt_option_is_refused(index):
    with pytest.raises(ValueError, match="'kk'.*mode, k,"):
        UnbraidRetriever(index=index, options={"kk": 3})
    with pytest.raises(ValidationError, match="kk"):
        UnbraidRetriever(index=index, kk=3)
