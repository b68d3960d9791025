"""The server, asked over real sockets."""

import asyncio
import base64
import contextlib
import importlib.util
import io
import json
import logging
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import openai
import orjson
import pytest
from PIL import Image

import unbraid
from unbraid.serve import BundleEngine, Keys, Limits, Settings, TeacherEngine
from unbraid.serve.requests.openai_tokens import ForeignIds
from unbraid.serve.routes.index_search import Index

KEY, OTHER_KEY = "key-of-one-client", "key-of-another-client"


def png(size=(8, 8), colour="red", **options):
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "PNG", **options)
    return out.getvalue()


def data_url(content):
    return "data:image/png;base64," + base64.b64encode(content).decode()


def no_tiktoken():
    raise ModuleNotFoundError("No module named 'tiktoken'", name="tiktoken")


@pytest.fixture(scope="module")
def foreign():
    """A server without tiktoken, so that no test downloads a vocabulary."""
    ids = ForeignIds(no_tiktoken)
    asyncio.run(ids.ready())
    return ids


@pytest.fixture(scope="module")
def engine(bundle_folder, foreign):
    return BundleEngine(unbraid.load(bundle_folder, threads=1), workers=2, foreign=foreign)


@pytest.fixture(scope="module")
def picture_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    (folder / "red.png").write_bytes(png((900, 600)))
    (folder / "secret.png").write_bytes(png())
    (folder / "rain.md").write_text("# Rain\n\nthe red house\n")
    return folder / "red.png"


@pytest.fixture(scope="module")
def index(engine, picture_file, tmp_path_factory):
    model = engine.embedder
    folder = tmp_path_factory.mktemp("index") / "i"
    with unbraid.open_index(folder, model=model) as opened:
        opened.add([picture_file, picture_file.parent / "rain.md"])
        yield Index(opened, model)


@pytest.fixture(scope="module")
def server(serving, engine, index):
    settings = Settings(aliases=("text-embedding-3-small",))
    with serving(engine, settings, index) as (url, app), httpx.Client(base_url=url) as http:
        yield http, app


@pytest.fixture(scope="module")
def http(server):
    return server[0]


@pytest.fixture(scope="module")
def client(http):
    with openai.OpenAI(base_url=f"{http.base_url}/v1", api_key="none", max_retries=0) as client:
        yield client


def vectors(answer):
    assert answer.status_code == 200, answer.text
    return np.array([one["embedding"] for one in answer.json()["data"]], dtype=np.float32)


def refused(answer, status, code):
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert answer.headers["x-request-id"]
    return answer.json()["error"]["message"]


def embed(http, value, **fields):
    return http.post("/v1/embeddings", json={"input": value, **fields})


# -- OpenAI's form -----------------------------------------------------------------------------------------


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
    ids, _ = engine.embedder.tokenise(texts)
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == sum(map(len, ids))
    assert [one.index for one in answer.data] == [0, 1, 2]


@pytest.mark.parametrize("dim", [512, 256, 128, 64])
def test_the_official_client_asks_for_dimensions_and_a_task_in_the_model(client, engine, dim):
    answer = client.embeddings.create(model=f"{engine.name}:query", input="a cat", dimensions=dim)
    expected = engine.embedder.encode(["a cat"], task="query", dim=dim)
    np.testing.assert_allclose([answer.data[0].embedding], expected, atol=1e-6)


def test_the_official_client_sends_token_ids_and_pictures(client, engine):
    ids, _ = engine.embedder.tokenise(["a cat", "the red house"])
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


def test_models_are_listed_with_their_tasks(client, engine):
    names = [one.id for one in client.models.list()]
    assert names[0] == engine.name and {f"{engine.name}:{task}" for task in engine.tasks} <= {*names}
    assert client.models.retrieve(f"{engine.name}:query").id == f"{engine.name}:query"
    assert client.embeddings.create(model="text-embedding-3-small:document", input="x").data


# -- Jina's form, tasks, kinds of items ---------------------------------------------------------------------


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
def test_tasks_have_jinas_names_too(http, engine, given, task):
    found = vectors(embed(http, [{"text": "a cat"}], task=given, normalized=True, embedding_type="float"))
    np.testing.assert_allclose(found, engine.embedder.encode(["a cat"], task=task), atol=1e-6)


def test_items_of_every_kind_share_a_request(http, engine):
    content = png((20, 10))
    items = ["a cat", {"text": "dog"}, {"code": "returnSelf"}, {"image": data_url(content)}]
    items.append({"image": base64.b64encode(content).decode()})
    picture = Image.open(io.BytesIO(content))
    expected = engine.embedder.encode(
        ["a cat", "dog", unbraid.Code("returnSelf"), picture, picture], task="document"
    )
    np.testing.assert_allclose(vectors(embed(http, items, task="document")), expected, atol=1e-6)


def test_plain_strings_are_code_under_jinas_code_passage(http, engine):
    found = vectors(embed(http, "returnSelf", task="code.passage"))
    np.testing.assert_allclose(
        found, engine.embedder.encode([unbraid.Code("returnSelf")], task="code"), atol=1e-6
    )


def test_bits_come_signed_and_unsigned(http, engine):
    bits = engine.embedder.encode(["a cat"], precision="binary").astype(int)
    for kind, expected in (("ubinary", bits), ("binary", bits - 128)):
        answer = embed(http, "a cat", embedding_type=kind)
        assert answer.json()["data"][0]["embedding"] == expected[0].tolist()


def test_a_long_text_is_cut_and_said_to_be_or_refused(http, engine):
    long = "red " * 100
    answer = embed(http, ["a cat", long])
    assert answer.headers["x-truncated-items"] == "1"
    np.testing.assert_allclose(
        vectors(answer)[1:], engine.embedder.encode([long], on_truncate="ignore"), atol=1e-6
    )
    assert "item 1" in refused(
        embed(http, ["a cat", long], truncate=False), 400, "INPUT_TOKEN_LIMIT_EXCEEDED"
    )


def test_tasks_are_mixed_in_a_batch_and_each_gets_its_own(http, engine):
    asked = [(text, task) for text in ("a cat", "the red house") for task in engine.tasks] * 8
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda one: vectors(embed(http, one[0], task=one[1]))[0], asked))
    for (text, task), vector in zip(asked, found, strict=True):
        expected = engine.embedder.encode([text], task=None if task == "base" else task)[0]
        np.testing.assert_allclose(vector, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"input": []}, "invalid_input"),
        ({"input": ""}, "invalid_input"),
        ({"input": ["a", " \n"]}, "invalid_input"),
        ({"input": None}, "invalid_input"),
        ({"input": 3}, "invalid_input"),
        ({"input": {"text": "a", "code": "b"}}, "invalid_input"),
        ({"input": [["a"]]}, "invalid_input"),
        ({"input": [[1, 2.5]]}, "invalid_input"),
        ({"input": [9906, 1917]}, "invalid_input"),  # "Hello world" to cl100k_base, as LangChain sends it
        ({"input": [[True]]}, "invalid_input"),
        ({}, "missing"),
        ({"input": "a", "task": "nope"}, "invalid_task"),
        ({"input": "a", "task": "query", "model": "starter:code"}, "model_not_found"),
        ({"input": "a", "dimensions": "512"}, "int_type"),
        ({"input": "a", "dimensions": 0}, "greater_than_equal"),
        ({"input": "a", "encoding_format": "hex"}, "literal_error"),
        ({"input": "a", "return_multivector": True}, "unsupported"),
        ({"input": {"image": "https://example.com/a.png"}}, "remote_pictures_off"),
        ({"input": {"image": "!!!"}}, "invalid_picture"),
        ({"input": "data:image/png;base64,AAAA"}, "invalid_picture"),
        ({"input": "data:image/png,AAAA"}, "invalid_picture"),
        ({"input": {"text": "x" * 200_001}}, "text_too_long"),
        ({"input": ["a"] * 2049}, "too_many_items"),
    ],
)
def test_what_cannot_be_served_is_refused_with_a_code(http, fields, code):
    if fields.get("model"):
        fields = {**fields, "model": "tiny:code"}
    refused(http.post("/v1/embeddings", json=fields), 404 if code == "model_not_found" else 400, code)


def test_a_model_and_a_task_that_differ_are_refused(http, engine):
    refused(embed(http, "a", model=f"{engine.name}:code", task="query"), 400, "invalid_task")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"input": NaN}',
        b'{"input": "\xff"}',
        b'{"input": "\\ud800"}',
        b"[" * 90_000,
    ],
)
def test_what_is_not_json_is_refused(http, body):
    refused(
        http.post("/v1/embeddings", content=body, headers={"content-type": "application/json"}),
        400,
        "invalid_json",
    )


def test_every_other_failure_has_the_same_shape(http):
    refused(http.get("/nothing"), 404, "not_found")
    refused(http.get("/v1/embeddings"), 405, "method_not_allowed")
    refused(http.post("/v1/embeddings", content="{}"), 415, "unsupported_media_type")
    refused(http.get("/health", headers={"host": "evil.example"}), 421, "wrong_host")


# -- mapping and search --------------------------------------------------------------------------------------


def test_stored_base_vectors_are_mapped_as_numbers_or_base64(http, engine):
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
def test_what_is_no_base_vector_is_refused(http, base):
    refused(http.post("/v1/map", json={"base": base, "task": "query"}), 400, "invalid_base")


def test_search_answers_under_every_mode_and_again_by_the_base_vector(http, picture_file):
    first = http.post("/v1/search", json={"query": "the red house", "k": 5}).json()
    assert first["encoded"] and {hit["path"] for hit in first["data"]} == {
        str(picture_file),
        str(picture_file.parent / "rain.md"),
    }
    for mode in ("retrieval", "symmetric", "code"):
        again = http.post("/v1/search", json={"base": first["base"], "mode": mode, "k": 5}).json()
        fresh = http.post("/v1/search", json={"query": "the red house", "mode": mode, "k": 5}).json()
        assert again["data"] == fresh["data"] and again["usage"]["total_tokens"] == 0 and not again["encoded"]
    by_picture = http.post(
        "/v1/search", json={"query": {"image": data_url(picture_file.read_bytes())}, "mode": "symmetric"}
    ).json()
    assert by_picture["data"][0]["path"] == str(picture_file)
    only = http.post("/v1/search", json={"query": "red", "paths": ["*.md"], "modality": "text"}).json()
    assert [hit["path"] for hit in only["data"]] == [str(picture_file.parent / "rain.md")]


def test_words_can_be_mixed_in(http, picture_file):
    (hit, *_) = http.post("/v1/search", json={"query": "rain", "hybrid": True}).json()["data"]
    assert hit["path"].endswith("rain.md") and hit["bm25"] > 0 and hit["score"] > hit["cosine"]
    picture = {"image": data_url(picture_file.read_bytes())}
    refused(http.post("/v1/search", json={"query": picture, "hybrid": True}), 400, "no_words")


def test_words_and_a_base_vector_together_need_no_encoding(http):
    first = http.post("/v1/search", json={"query": "rain", "hybrid": True}).json()
    about = {"query": "rain", "base": first["base"], "hybrid": True}
    again = http.post("/v1/search", json=about).json()
    assert first["encoded"] and not again["encoded"]
    assert again["data"] == first["data"] and again["usage"]["total_tokens"] == 0
    refused(http.post("/v1/search", json={**about, "hybrid": False}), 400, "invalid_input")
    refused(http.post("/v1/search", json={"base": first["base"], "hybrid": True}), 400, "no_words")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"query": "a", "base": "AAAA"},
        {"query": ["a"]},
        {"query": "a", "mode": "x"},
        {"query": "a", "k": 0},
    ]
    + [{"query": "a", "k": 101}, {"base": "AAAA"}, {"query": "a", "languages": ["klingon"]}]
    + [
        {"query": "a", "paths": ["a\0b"]},
        {"query": "a", "where": ["?"]},
        {"query": "a", "paths": ["*a" * 20]},
    ],
)
def test_a_search_that_means_nothing_is_refused(http, fields):
    assert http.post("/v1/search", json=fields).status_code == 400


def test_a_search_that_fails_is_not_the_clients_fault(http, index, monkeypatch):
    def fail(*_):
        raise ValueError("operands could not be broadcast")

    monkeypatch.setattr(index.index.store, "nearest", fail)
    assert "broadcast" not in refused(http.post("/v1/search", json={"query": "a"}), 500, "internal_error")


def test_a_search_that_is_not_begun_in_time_or_for_nobody_is_not_made(serving, engine, index, monkeypatch):
    begun, go, real = threading.Semaphore(0), threading.Event(), index.index.store.nearest

    def nearest(*arguments):
        begun.release()
        assert go.wait(10)
        return real(*arguments)

    monkeypatch.setattr(index.index.store, "nearest", nearest)
    base = engine.embedder.encode(["a cat"])[0].tolist()
    limits = Limits(queue_seconds=0.5)
    with serving(engine, Settings(limits=limits), index) as (url, _), ThreadPoolExecutor(1) as pool:

        def ask(timeout=10):
            return httpx.post(f"{url}/v1/search", json={"base": base}, timeout=timeout)

        first = pool.submit(ask)
        assert begun.acquire(timeout=10)
        with pytest.raises(httpx.ReadTimeout):
            ask(timeout=0.1)
        eventually(lambda: 'code="client_gone"' in httpx.get(f"{url}/metrics").text)
        refused(ask(), 429, "overloaded")
        go.set()
        assert first.result().status_code == 200
    assert not begun.acquire(blocking=False)


def test_only_pictures_of_the_index_are_served_and_small(http, picture_file):
    hits = http.post("/v1/search", json={"query": "red", "modality": "image"}).json()["data"]
    answer = http.get(hits[0]["picture"])
    assert answer.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(answer.content)).size == (512, 341)
    for path in (
        picture_file.parent / "secret.png",
        picture_file.parent / "rain.md",
        "/etc/passwd",
        "",
        "../x",
    ):
        refused(http.get("/v1/pictures", params={"path": str(path)}), 404, "not_found")
    refused(http.get("/v1/pictures"), 404, "not_found")
    content = picture_file.read_bytes()
    try:
        picture_file.write_bytes(png((5, 5), "blue"))
        refused(http.get(hits[0]["picture"]), 404, "not_found")
    finally:
        picture_file.write_bytes(content)


# -- keys --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def locked(serving, engine):
    with (
        serving(engine, Settings(keys=Keys([KEY, OTHER_KEY]))) as (url, app),
        httpx.Client(base_url=url) as http,
    ):
        yield http, app


def test_every_documented_route_but_health_needs_a_key(locked):
    http, app = locked
    document = app.openapi()
    routes = [(method, path) for path, about in document["paths"].items() for method in about]
    # And what no document names: the page, the document itself, paths and methods that there are not.
    routes += [
        ("get", "/"),
        ("get", "/openapi.json"),
        ("get", "/docs"),
        ("post", "/nothing"),
        ("delete", "/v1/models"),
    ]
    routes += [
        ("options", "/v1/embeddings"),
        ("head", "/metrics"),
        ("get", "//health"),
        ("get", "/health/"),
        ("get", "/ready/../"),
    ]
    assert len(routes) >= 18
    for method, path in routes:
        for header in ({}, {"authorization": "Bearer wrong-wrong-wrong-wrong"}, {"authorization": KEY}):
            answer = http.request(method, path.replace("{name}", "x"), headers=header)
            if path in ("/health", "/ready"):
                assert answer.status_code == 200
                assert document["paths"][path][method]["security"] == []
            else:
                assert answer.status_code == 401, (method, path)
                assert method == "head" or answer.json()["error"]["type"] == "authentication_error"


def test_each_key_opens_and_a_browser_may_send_it_as_a_password(locked):
    http, _ = locked
    for key in (KEY, OTHER_KEY):
        assert http.get("/v1/models", headers={"authorization": f"Bearer {key}"}).status_code == 200
        assert http.get("/v1/models", auth=("anybody", key)).status_code == 200
    assert http.get("/").headers["www-authenticate"].startswith("Basic")
    assert http.get("/v1/models").headers["www-authenticate"] == "Bearer"
    for header in ("Basic !!!", "Basic", "Bearer", "Bearer \u00ff", f"Bearer {KEY} x", f"Bearer {KEY[:-1]}"):
        assert http.get("/v1/models", headers={"authorization": header.encode("latin-1")}).status_code == 401


def test_the_official_client_reads_the_refusal_of_a_key(locked):
    http, _ = locked
    client = openai.OpenAI(base_url=f"{http.base_url}/v1", api_key="nope", max_retries=0)
    with client, pytest.raises(openai.AuthenticationError):
        client.embeddings.create(model="tiny", input="a")


# -- limits ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def narrow(serving, engine):
    limits = Limits(
        body_bytes=50_000,
        bytes_in_flight=60_000,
        body_seconds=1.0,
        values=500,
        tokens=200,
        pictures=2,
        picture_bytes=2_000,
        picture_pixels=1_000_000,
        requests=3,
    )
    with serving(engine, Settings(limits=limits)) as (url, app), httpx.Client(base_url=url) as http:
        yield http, app


def test_each_limit_has_its_own_refusal(narrow):
    http, _ = narrow
    refused(embed(http, "x" * 50_001), 413, "body_too_large")
    refused(embed(http, [1] * 1_000), 400, "too_many_values")
    refused(embed(http, ["a cat a cat"] * 60), 400, "too_many_tokens")
    refused(embed(http, [{"image": data_url(png())}] * 3), 400, "too_many_pictures")
    refused(embed(http, {"image": data_url(b"x" * 3_000)}), 400, "picture_too_large")
    # 1.02 megapixels in 1.3 KB: refused by the header
    content = io.BytesIO()
    Image.new("1", (3000, 340)).save(content, "PNG")
    refused(embed(http, {"image": data_url(content.getvalue())}), 400, "picture_too_large")


def test_a_body_of_unknown_length_is_counted_while_it_comes(narrow):
    http, _ = narrow
    answer = http.post(
        "/v1/embeddings",
        content=(b" " * 1_000 for _ in range(200)),
        headers={"content-type": "application/json"},
    )
    refused(answer, 413, "body_too_large")


def test_a_slow_sender_is_told_so_and_holds_nothing(narrow):
    http, _ = narrow
    with raw(http) as sock:
        sock.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
        sock.sendall(b"Content-Length: 4000\r\n\r\n{")
        assert b"408" in sock.recv(1000).split(b"\r\n")[0]
    assert embed(http, "a").status_code == 200


def test_too_many_requests_and_too_many_bytes_at_once_are_429(narrow):
    http, _ = narrow
    head = b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"

    def too_many_bytes():
        with raw(http) as held, raw(http) as sock:
            held.sendall(head % 45_000 + b" " * 40_000)
            sock.sendall(head % 45_000 + b" " * 45_000)
            return sock.recv(1000).startswith(b"HTTP/1.1 429")

    def too_many_requests():
        with raw(http) as one, raw(http) as two, raw(http) as three:
            for sock in (one, two, three):
                sock.sendall(head % 100 + b" ")
            answer = embed(http, "a")
            assert http.get("/health").status_code == 200
        if answer.status_code == 429:
            refused(answer, 429, "overloaded")
            assert answer.headers["retry-after"] == "1"
        return answer.status_code == 429

    eventually(too_many_bytes)
    eventually(too_many_requests)
    eventually(lambda: embed(http, "a").status_code == 200)


def eventually(true):
    """Ask until it is true: what was sent before may not have been read yet."""
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline


@contextlib.contextmanager
def raw(http):
    with socket.create_connection((http.base_url.host, http.base_url.port), timeout=5) as sock:
        yield sock


# -- what it tells ------------------------------------------------------------------------------------------


def test_metrics_count_what_was_served(http):
    def read():
        lines = http.get("/metrics").text.splitlines()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line[0] != "#"}

    before = read()
    usage = embed(http, ["a cat", "the red house"]).json()["usage"]["total_tokens"]
    embed(http, "")
    after = read()

    def grown(name):
        return after[name] - before.get(name, 0)

    assert grown('unbraid_requests_total{route="/v1/embeddings",status="200"}') == 1
    assert grown("unbraid_tokens_total") == usage and grown("unbraid_items_total") == 2
    assert grown('unbraid_rejects_total{code="invalid_input"}') == 1
    assert grown("unbraid_batch_items_sum") == 2
    assert grown('unbraid_phase_seconds_count{phase="encode"}') == 1
    assert after["unbraid_queue_tokens"] == after["unbraid_queue_items"] == 0


def test_a_request_id_is_kept_and_times_are_told(http):
    answer = http.post("/v1/embeddings", json={"input": "a"}, headers={"x-request-id": "mine-1"})
    assert answer.headers["x-request-id"] == "mine-1"
    assert {part.split(";")[0].strip() for part in answer.headers["server-timing"].split(",")} == {
        *("body", "read", "queue", "encode", "total")
    }
    assert http.get("/health", headers={"x-request-id": "a b"}).headers["x-request-id"] != "a b"


def test_log_lines_are_json_with_the_request(http, caplog):
    from unbraid.serve.uvicorn_server import JsonLines

    def ours() -> list[logging.LogRecord]:  # other libraries may have been told to log too
        return [record for record in caplog.records if record.name == "unbraid.serve"]

    with caplog.at_level("INFO", "unbraid.serve"):
        http.post("/v1/embeddings", json={"input": "a cat"}, headers={"x-request-id": "for-the-log"})
        deadline = time.monotonic() + 5
        while not ours() and time.monotonic() < deadline:
            time.sleep(0.01)
    about = json.loads(JsonLines().format(ours()[-1]))
    assert about["request_id"] == "for-the-log" and about["status"] == 200 and about["items"] == 1
    assert about["route"] == "/v1/embeddings" and about["level"] == "info"


def test_another_host_is_allowed_only_when_named(serving, engine, http):
    assert (
        "access-control-allow-origin"
        not in http.get("/v1/models", headers={"origin": "https://a.example"}).headers
    )
    settings = Settings(origins=("https://a.example",), keys=Keys([KEY]))
    with serving(engine, settings) as (url, _), httpx.Client(base_url=url) as other:
        asks = {"origin": "https://a.example", "access-control-request-method": "POST"}
        assert (
            other.options("/v1/embeddings", headers=asks).headers["access-control-allow-origin"]
            == asks["origin"]
        )
        refusal = other.options("/v1/embeddings", headers={**asks, "origin": "https://b.example"})
        assert "access-control-allow-origin" not in refusal.headers


def test_the_page_names_no_other_host(http):
    answer = http.get("/")
    assert answer.headers["content-type"].startswith("text/html")
    assert "http://" not in answer.text.replace("http://www.w3.org/", "") and "https://" not in answer.text


def test_the_document_has_an_error_for_every_status_that_is_answered(server):
    _, app = server
    for path, about in app.openapi()["paths"].items():
        for method in about.values():
            assert {"200", "400", "401", "404", "405", "413", "415", "429", "500", "503"} <= set(
                method["responses"]
            )
            assert "422" not in method["responses"], path


# -- a teacher ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def teacher(tiny_v4):
    from unbraid.teacher import load

    return load(tiny_v4, device="cpu")


@pytest.fixture(scope="module")
def taught(serving, teacher, foreign):
    with serving(TeacherEngine(teacher, foreign)) as (url, _), httpx.Client(base_url=url, timeout=30) as http:
        yield http


def test_a_teacher_is_served_by_the_same_application(taught, teacher):
    items = ["a cat", "the red house"]
    found = vectors(embed(taught, items, task="retrieval.passage"))
    np.testing.assert_allclose(found, teacher.encode(items, "document"), atol=1e-5)
    shorter = vectors(embed(taught, items, task="query", dimensions=min(teacher.dims)))
    np.testing.assert_allclose(shorter, teacher.encode(items, "query", dim=min(teacher.dims)), atol=1e-5)
    default = vectors(embed(taught, items))
    np.testing.assert_allclose(default, teacher.encode(items, "symmetric"), atol=1e-5)


def test_a_teachers_pictures_and_multi_vectors_are_counted_and_served(taught, teacher):
    picture = Image.new("RGB", (60, 90), "red")
    content = io.BytesIO()
    picture.save(content, "PNG")
    answer = embed(
        taught, [{"image": data_url(content.getvalue())}, "a cat"], task="query", return_multivector=True
    )
    expected = teacher.encode([picture, "a cat"], "query", multi_vector=True)
    for one, want in zip(answer.json()["data"], expected, strict=True):
        assert one["object"] == "embeddings"
        np.testing.assert_allclose(one["embeddings"], want, atol=1e-5)
    assert answer.json()["usage"]["total_tokens"] == sum(len(one) for one in expected)


def test_what_a_teacher_cannot_do_is_refused(taught):
    refused(taught.post("/v1/map", json={"base": [[1.0]], "task": "query"}), 400, "unsupported")
    refused(taught.post("/v1/search", json={"query": "a"}), 404, "no_index")
    refused(embed(taught, [1, 2]), 400, "invalid_input")
    refused(embed(taught, "a", return_multivector=True, dimensions=32), 400, "unsupported")
    refused(embed(taught, "a", return_multivector=True, embedding_type="base64"), 400, "unsupported")


def test_orjson_writes_float32_so_that_it_reads_back_the_same(engine):
    vector = engine.embedder.encode(["a cat"])
    text = orjson.dumps(vector, option=orjson.OPT_SERIALIZE_NUMPY)
    assert (np.array(json.loads(text), dtype=np.float32) == vector).all()


# -- malformed requests ---------------------------------------------------------------------------------------


def load_benchmark(name):
    path = Path(__file__).parents[2] / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_malformed_bodies_are_refused_in_form_and_break_nothing(http):
    fuzz = load_benchmark("serve_fuzz")
    for path, content, headers in fuzz.requests(seed=7, count=300):
        sent = {name: text.encode("latin-1") for name, text in headers.items()}
        try:
            answer = http.post(path, content=content, headers=sent)
        except httpx.LocalProtocolError:
            continue
        assert fuzz.check(answer) is None, (path, content[:200], answer.text[:300])
    assert embed(http, "a cat").status_code == 200


def test_every_answer_is_one_the_document_names(server):
    schemathesis = pytest.importorskip("schemathesis")
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

    http, app = server
    schema = schemathesis.openapi.from_dict(app.openapi())
    checks = [
        not_a_server_error,
        status_code_conformance,
        content_type_conformance,
        response_schema_conformance,
    ]
    for found in schema.get_all_operations():
        operation = found.ok()
        modes = list(schemathesis.GenerationMode)

        @given(
            case=operation.as_strategy(generation_mode=modes[0])
            | operation.as_strategy(generation_mode=modes[1])
        )
        @settings(
            max_examples=6,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def ask(case):
            case.call_and_validate(base_url=str(http.base_url), checks=checks)

        ask()
