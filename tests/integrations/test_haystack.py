import asyncio

import numpy as np
import pytest
from haystack import Document, Pipeline
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.dataclasses import ByteStream
from haystack.document_stores.in_memory import InMemoryDocumentStore

from unbraid.errors import ItemError
from unbraid.integrations.haystack import UnbraidDocumentEmbedder, UnbraidTextEmbedder

TEXTS = ["the cat sleeps", "a dog in the house"]


def test_a_pipeline_asks_with_queries_and_keeps_documents(model, sides):
    store = InMemoryDocumentStore(embedding_similarity_function="dot_product")
    embedded = UnbraidDocumentEmbedder(model).run([Document(content=text) for text in TEXTS])
    store.write_documents(embedded["documents"])
    pipeline = Pipeline()
    pipeline.add_component("embedder", UnbraidTextEmbedder(model))
    pipeline.add_component("retriever", InMemoryEmbeddingRetriever(store))
    pipeline.connect("embedder.embedding", "retriever.query_embedding")
    found = pipeline.run({"embedder": {"text": "cat"}})["retriever"]["documents"]
    cosines = (sides.queries(["cat"]) @ sides.documents(TEXTS).T)[0]
    scores = {one.content: one.score for one in found}
    assert scores == pytest.approx(dict(zip(TEXTS, cosines.tolist(), strict=True)), abs=1e-5)


def test_documents_are_copies(model):
    given = [Document(content="the cat", meta={"page": 3})]
    (embedded,) = UnbraidDocumentEmbedder(model).run(given)["documents"]
    assert given[0].embedding is None
    assert (embedded.content, embedded.meta, embedded.id) == ("the cat", {"page": 3}, given[0].id)


def test_a_document_without_content_is_a_picture(model, picture, sides):
    documents = [
        Document(blob=ByteStream(picture.read_bytes(), mime_type="image/png")),
        Document(meta={"file_path": str(picture)}),
        Document(content="the cat", meta={"file_path": str(picture)}),
    ]
    found = [one.embedding for one in UnbraidDocumentEmbedder(model).run(documents)["documents"]]
    assert np.allclose(found, sides.documents([picture, picture, "the cat"]), atol=1e-5)


def test_an_empty_document_is_named(model):
    with pytest.raises(ItemError, match=r'document no-7 has no content, no blob and no meta\["file_path"\]'):
        UnbraidDocumentEmbedder(model).run([Document(id="no-7")])


def test_asynchronous_runs_give_the_same(model):
    text, documents = UnbraidTextEmbedder(model), UnbraidDocumentEmbedder(model)
    given = [Document(content="the cat")]
    assert asyncio.run(text.run_async("cat")) == text.run("cat")
    assert asyncio.run(documents.run_async(given)) == documents.run(given)


@pytest.mark.parametrize("kind", [UnbraidTextEmbedder, UnbraidDocumentEmbedder])
def test_a_stored_pipeline_makes_the_same_vectors(kind, model):
    pipeline = Pipeline()
    pipeline.add_component("embedder", kind(model, mode="code", dim=64, tier="nano"))
    given = (
        {"text": "getModel"} if kind is UnbraidTextEmbedder else {"documents": [Document(content="getModel")]}
    )
    again = Pipeline.loads(pipeline.dumps())
    assert again.run({"embedder": given}) == pipeline.run({"embedder": given})
    assert again.get_component("embedder").options == {
        "model": model,
        "mode": "code",
        "dim": 64,
        "tier": "nano",
    }
