"""Vectors over HTTP: OpenAI's form, Jina's form, tasks, kinds of items, base vectors mapped."""

import base64
import io
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import openai
import orjson
import pytest
from PIL import Image

import unbraid
from unbraid.serve import BundleEngine


@pytest.fixture(scope="module")
def client(http):
    with openai.OpenAI(base_url=f"{http.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.mark.parametrize("encoding_format", ["float", "base64", openai.omit])
def test_the_official_client_gets_what_encode_gives(client, engine, encoding_format):
    texts = ["the red house", "a cat", "return self"]
    answer = client.embeddings.create(model=engine.name, input=texts, encoding_format=encoding_format)
    found = [
        np.frombuffer(base64.b64decode(one.embedding), "<f4")
        if isinstance(one.embedding, str)
        else one.embedding
        for one in answer.data
    ]
    np.testing.assert_allclose(np.array(found), engine.embedder.encode(texts), atol=1e-6)
    ids, _ = engine.embedder.tokenize(texts)
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == sum(map(len, ids))
    assert [one.index for one in answer.data] == [0, 1, 2]


@pytest.mark.parametrize("dim", [512, 256, 128, 64])
def test_the_official_client_asks_for_dimensions_and_a_task_in_the_model(client, engine, dim):
    answer = client.embeddings.create(model=f"{engine.name}:query", input="a cat", dimensions=dim)
    expected = engine.embedder.encode(["a cat"], task="query", dim=dim)
    np.testing.assert_allclose([answer.data[0].embedding], expected, atol=1e-6)


def test_the_official_client_sends_token_ids_and_pictures(client, engine, data_url, png):
    ids, _ = engine.embedder.tokenize(["a cat", "the red house"])
    one = client.embeddings.create(model=engine.name, input=ids[0])
    both = client.embeddings.create(model=engine.name, input=ids)
    expected = engine.embedder.encode(["a cat", "the red house"])
    np.testing.assert_allclose([one.data[0].embedding], expected[:1], atol=1e-6)
    np.testing.assert_allclose([one.embedding for one in both.data], expected, atol=1e-6)
    picture = client.embeddings.create(model=engine.name, input=data_url(png()))
    expected = engine.embedder.encode([Image.new("RGB", (8, 8), "red")])
    np.testing.assert_allclose([picture.data[0].embedding], expected, atol=1e-6)
    assert picture.usage.prompt_tokens == 0


def test_the_official_client_reads_errors(client, engine):
    with pytest.raises(openai.BadRequestError) as refusal:
        client.embeddings.create(model=engine.name, input="a cat", dimensions=7)
    assert refusal.value.code == "invalid_dimensions" and refusal.value.param == "dimensions"
    with pytest.raises(openai.NotFoundError) as refusal:
        client.embeddings.create(model="text-embedding-9", input="a cat")
    assert refusal.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("given", "task"),
    [
        ("retrieval.query", "query"),
        ("retrieval.passage", "document"),
        ("text-matching", "symmetric"),
        ("code.query", "code"),
        ("symmetric", "symmetric"),
    ],
)
def test_tasks_have_jinas_names_too(http, engine, given, task, vectors):
    found = vectors(http.embed([{"text": "a cat"}], task=given, normalized=True, embedding_type="float"))
    np.testing.assert_allclose(found, engine.embedder.encode(["a cat"], task=task), atol=1e-6)


def test_items_of_every_kind_share_a_request(http, engine, vectors, data_url, png):
    content = png((20, 10))
    items = ["a cat", {"text": "dog"}, {"code": "returnSelf"}, {"image": data_url(content)}]
    items.append({"image": base64.b64encode(content).decode()})
    picture = Image.open(io.BytesIO(content))
    expected = engine.embedder.encode(
        ["a cat", "dog", unbraid.Code("returnSelf"), picture, picture], task="document"
    )
    np.testing.assert_allclose(vectors(http.embed(items, task="document")), expected, atol=1e-6)


def test_plain_strings_are_code_under_jinas_code_passage(http, engine, vectors):
    found = vectors(http.embed("returnSelf", task="code.passage"))
    np.testing.assert_allclose(
        found, engine.embedder.encode([unbraid.Code("returnSelf")], task="code"), atol=1e-6
    )


def test_bits_come_signed_and_unsigned(http, engine):
    bits = engine.embedder.encode(["a cat"], numbers="binary").astype(int)
    for kind, expected in (("ubinary", bits), ("binary", bits - 128)):
        answer = http.embed("a cat", embedding_type=kind)
        assert answer.json()["data"][0]["embedding"] == expected[0].tolist()


def test_a_long_text_is_cut_and_said_to_be_or_refused(http, engine, vectors, refused):
    long = "red " * 100
    answer = http.embed(["a cat", long])
    assert answer.headers["x-truncated-items"] == "1"
    np.testing.assert_allclose(
        vectors(answer)[1:], engine.embedder.encode([long], on_truncate="ignore"), atol=1e-6
    )
    assert "item 1" in refused(http.embed(["a cat", long], truncate=False), 400, "INPUT_TOKEN_LIMIT_EXCEEDED")


def test_tasks_are_mixed_in_a_batch_and_each_gets_its_own(http, engine, vectors):
    asked = [(text, task) for text in ("a cat", "the red house") for task in engine.tasks] * 8
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda one: vectors(http.embed(one[0], task=one[1]))[0], asked))
    for (text, task), vector in zip(asked, found, strict=True):
        expected = engine.embedder.encode([text], task=None if task == "base" else task)[0]
        np.testing.assert_allclose(vector, expected, atol=1e-6)


def test_a_model_and_a_task_that_differ_are_refused(http, engine, refused):
    refused(http.embed("a", model=f"{engine.name}:code", task="query"), 400, "invalid_task")


def test_stored_base_vectors_are_mapped_as_numbers_or_base64(http, engine, vectors):
    base = engine.embedder.encode(["a cat", "the red house"])
    expected = engine.embedder.map(base, "query", dim=128)
    for sent in (base.tolist(), [base64.b64encode(row.tobytes()).decode() for row in base]):
        answer = http.post("/v1/map", json={"base": sent, "task": "query", "dimensions": 128})
        np.testing.assert_allclose(vectors(answer), expected, atol=1e-6)
        assert answer.json()["usage"]["total_tokens"] == 0


@pytest.mark.parametrize(
    "base",
    [
        [],
        "x",
        [[]],
        [[1.0] * 511],
        [["a"] * 512],
        [[True] * 512],
        ["AAAA"],
        ["!"],
        [[0] * 512],
        [[1e30] * 512],
        [[10**400] * 512],
    ],
)
def test_what_is_no_base_vector_is_refused(http, base, refused):
    refused(http.post("/v1/map", json={"base": base, "task": "query"}), 400, "invalid_base")


def test_orjson_writes_float32_so_that_it_reads_back_the_same(engine):
    vector = engine.embedder.encode(["a cat"])
    text = orjson.dumps(vector, option=orjson.OPT_SERIALIZE_NUMPY)
    assert (np.array(json.loads(text), dtype=np.float32) == vector).all()


def test_a_large_jpeg_has_the_vector_that_encode_gives_its_file(
    method_folder, large_jpeg, no_vocabulary, serving, vectors, data_url, tmp_path
):
    (tmp_path / "large.jpg").write_bytes(large_jpeg)
    embedder = unbraid.load(method_folder, threads=1)
    expected = embedder.encode([tmp_path / "large.jpg"])
    with serving(BundleEngine(embedder, workers=1, openai_tokens=no_vocabulary)) as http:
        found = vectors(http.embed([{"image": data_url(large_jpeg)}]))
    np.testing.assert_allclose(found, expected, atol=1e-6)
