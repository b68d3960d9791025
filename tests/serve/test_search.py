"""Searching over HTTP, and the thumbnails of an index."""

import base64
import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from PIL import Image

import unbraid
from unbraid.index import Index
from unbraid.index.search import second_look
from unbraid.index.search.search import Hit
from unbraid.index.under_way import UnderWay
from unbraid.serve import Limits, Settings
from unbraid.serve.requests.schemas import SearchRequest
from unbraid.serve.routes.index_search import EXPLAINED


def test_search_answers_under_every_mode_and_again_by_the_base_vector(http, picture_file, data_url):
    first = http.post("/v1/search", json={"query": "the red house", "k": 5, "vectors_only": True}).json()
    assert first["encoded"] and {hit["path"] for hit in first["data"]} == {
        str(picture_file),
        str(picture_file.parent / "rain.md"),
    }
    for mode in ("retrieval", "symmetric", "code"):
        again = http.post("/v1/search", json={"base": first["base"], "mode": mode, "k": 5}).json()
        fresh = http.post(
            "/v1/search", json={"query": "the red house", "mode": mode, "k": 5, "vectors_only": True}
        ).json()
        assert again["data"] == fresh["data"] and again["usage"]["total_tokens"] == 0 and not again["encoded"]
    by_picture = http.post(
        "/v1/search", json={"query": {"image": data_url(picture_file.read_bytes())}, "mode": "symmetric"}
    ).json()
    assert by_picture["data"][0]["path"] == str(picture_file)
    only = http.post("/v1/search", json={"query": "red", "paths": ["*.md"], "modality": "text"}).json()
    assert [hit["path"] for hit in only["data"]] == [str(picture_file.parent / "rain.md")]


def test_words_count_unless_only_vectors_shall(http, picture_file, refused, data_url):
    (hit, *_) = http.post("/v1/search", json={"query": "rain"}).json()["data"]
    assert hit["path"].endswith("rain.md") and hit["bm25"] > 0 and 0 < hit["score"] <= 1
    (hit, *_) = http.post("/v1/search", json={"query": "rain", "vectors_only": True}).json()["data"]
    assert hit["bm25"] is None
    picture = {"image": data_url(picture_file.read_bytes())}
    assert http.post("/v1/search", json={"query": picture}).json()["data"][0]["bm25"] is None
    refused(http.post("/v1/search", json={"query": "rain", "min_score": 2}), 400, "invalid_field")
    assert http.post("/v1/search", json={"query": "rain", "min_score": 1}).json()["data"] == []


def test_words_and_a_base_vector_together_need_no_encoding(http):
    first = http.post("/v1/search", json={"query": "rain"}).json()
    about = {"query": "rain", "base": first["base"]}
    again = http.post("/v1/search", json=about).json()
    assert first["encoded"] and not again["encoded"]
    assert again["data"] == first["data"] and again["usage"]["total_tokens"] == 0


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"query": []},
        {"query": [1, 2]},
        {"query": ["a", [1, 2]]},
        {"query": ["a", ["b"]]},
        {"query": "a", "weights": [1]},
        {"base": [0.1], "weights": [1]},
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


def test_several_items_are_one_query(http, engine, picture_file, data_url):
    picture = {"image": data_url(picture_file.read_bytes())}
    query, weights = ["the red house", picture, {"text": "rain"}], [0.5, 0.5, -0.2]
    base = engine.embedder.encode(
        [unbraid.Mix(["the red house", picture_file, "rain"], weights)], side="query"
    )
    answer = http.search(query=query, weights=weights).json()
    sent = np.frombuffer(base64.b64decode(answer["base"]), "<f4")
    assert answer["encoded"] and sent == pytest.approx(base[0], abs=1e-5)
    again = http.search(query="the red house", base=answer["base"]).json()
    assert again["data"] == answer["data"]  # "rain" is not wanted, so its words do not count
    alone = http.search(query=["the red house"]).json()
    assert alone["data"][0]["path"] == http.search(query="the red house").json()["data"][0]["path"]


def test_without_weights_words_have_their_share(http, engine, picture_file, data_url):
    answer = http.search(query=["red", {"image": data_url(picture_file.read_bytes())}]).json()
    base = engine.embedder.encode([unbraid.Mix(["red", picture_file])], side="query")[0]
    assert np.frombuffer(base64.b64decode(answer["base"]), "<f4") == pytest.approx(base, abs=1e-5)


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ([1], "2 parts have 1 weights"),
        ([0, 0], "is positive"),
        ([1, -1], "cancel out"),
        ([True, 1], "weights.0: "),
        (["1", 1], "weights.0: "),
    ],
)
def test_weights_that_do_not_fit_are_refused(http, weights, says):
    error = http.search(query=["rain", "rain"], weights=weights).json()["error"]
    assert says in error["message"] and error["param"].startswith("weights")


def test_the_words_of_a_query_are_marked_in_the_snippets(http):
    (hit, *_) = http.search(query="houses of rain", languages=["markdown"]).json()["data"]
    assert [hit["snippet"][start:end] for start, end in hit["marks"]] == ["Rain", "house"]
    (hit, *_) = http.search(query="rain", vectors_only=True, languages=["markdown"]).json()["data"]
    assert hit["marks"] == []


def test_only_the_first_page_of_a_picture_has_a_thumbnail(index, monkeypatch):
    hits = [
        Hit(rank, 0.5, path, "image", page, page, "words", 0.5)
        for rank, (path, page) in enumerate(
            [("/a.tif", None), ("/a.tif", 1), ("/a.tif", 2), ("/a.pdf", 1)], 1
        )
    ]
    monkeypatch.setattr(index.index, "search_vectors", lambda *_, **__: [hits])
    found = index._search(np.zeros((1, 8), np.float32), None, None, None, SearchRequest(), Limits())
    assert [bool(hit.picture) for hit in found] == [True, True, False, False]


def test_a_search_that_fails_is_not_the_clients_fault(http, store, monkeypatch, refused):
    def fail(*_):
        raise ValueError("operands could not be broadcast")

    monkeypatch.setattr(store, "nearest", fail)
    assert "broadcast" not in refused(http.post("/v1/search", json={"query": "a"}), 500, "internal_error")


def test_a_search_that_is_not_begun_in_time_or_for_nobody_is_not_made(
    serving, engine, index, store, monkeypatch, refused, eventually
):
    begun, go, real = threading.Semaphore(0), threading.Event(), store.nearest

    def nearest(*arguments):
        begun.release()
        assert go.wait(10)
        return real(*arguments)

    monkeypatch.setattr(store, "nearest", nearest)
    base = engine.embedder.encode(["a cat"])[0].tolist()
    limits = Limits(queue_seconds=0.5)
    with serving(engine, Settings(limits=limits), index) as server, ThreadPoolExecutor(1) as pool:

        def ask(timeout=10):
            return httpx.post(f"{server.url}/v1/search", json={"base": base}, timeout=timeout)

        first = pool.submit(ask)
        assert begun.acquire(timeout=10)
        with pytest.raises(httpx.ReadTimeout):
            ask(timeout=0.1)
        eventually(lambda: 'code="client_gone"' in server.get("/metrics").text)
        refused(ask(), 429, "overloaded")
        go.set()
        assert first.result().status_code == 200
    assert not begun.acquire(blocking=False)


def test_only_pictures_of_the_index_are_served_and_small(http, picture_file, refused, png):
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


def test_files_of_the_index_are_served_as_text_or_saved_and_no_others(http, picture_file, refused):
    def get(path):
        return http.get("/v1/files", params={"path": str(path)})

    note = picture_file.parent / "rain.md"
    answer = get(note)
    assert answer.text == note.read_text() and answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert get(picture_file).headers["content-type"] == "image/png"
    for path in (picture_file.parent / "secret.png", "/etc/passwd", picture_file.parent, "", "a\0b"):
        refused(get(path), 404, "not_found")
    content = note.read_text()
    try:
        note.write_text("changed")
        assert "has changed" in refused(get(note), 404, "not_found")
    finally:
        note.write_text(content)


def test_what_is_being_indexed_is_told(http, monkeypatch):
    monkeypatch.setattr(Index, "under_way", lambda index: UnderWay("indexing", "files", 40, 200, 4.0))
    about = {"what": "indexing", "unit": "files", "done": 40, "total": 200}
    assert http.get("/v1/status").json()["under_way"] == {**about, "rate": 10.0, "seconds_left": 16.0}


def test_what_the_index_holds_is_counted(http, picture_file, refused, serving, engine):
    assert http.get("/v1/status").json() == {
        "items": 2,
        "modalities": {"image": 1, "text": 1},
        "hits": 100,
        "under_way": None,
    }
    top = picture_file.parent.as_posix()
    found = http.post("/v1/facets", json={}).json()
    assert found == {
        "top": top,
        "folder": top,
        "folders": [],
        "languages": [{"value": "markdown", "count": 1}],
    }
    above = http.post(
        "/v1/facets", json={"folder": str(picture_file.parent.parent), "modality": "text"}
    ).json()
    assert above["folders"] == [{"value": top, "count": 1}]
    refused(http.post("/v1/facets", json={"languages": ["klingon"]}), 400, "invalid_input")
    with serving(engine) as without:
        for answer in (without.get("/v1/status"), without.post("/v1/facets", json={})):
            refused(answer, 404, "no_index")


def test_a_pattern_of_many_stars_is_refused_at_once(http, refused):
    started = time.monotonic()
    for term in ("*" * 299 + "\0", "*a" * 7, "*a" * 149 + "\0"):
        refused(http.search(query="a", paths=[term]), 400, "string_pattern_mismatch")
    assert http.search(query="a", paths=["**a**b**c**d**e**"]).status_code == 200
    assert time.monotonic() - started < 5


def test_a_second_look_and_its_reasons_are_taken_where_they_are_asked_for(
    http, refused, picture_file, data_url
):
    plain = http.search(query="the red house", modality="text").json()["data"]
    assert plain[0]["why"] == []
    hit = http.search(query="the red house", modality="text", explain=True).json()["data"][0]
    assert {one["query"] for one in hit["why"]} == {"red", "house"} and hit["score"] == plain[0]["score"]
    looked = http.search(query="the red house", rerank="on").json()["data"]
    assert {one["path"] for one in looked} >= {plain[0]["path"]}
    picture = {"image": data_url(picture_file.read_bytes())}
    assert http.search(query=[picture, "red"], rerank="on", explain=True).json()["data"][0]["why"] == []
    assert "rerank is 'soon'" in refused(http.search(query="a", rerank="soon"), 400, "invalid_input")


@pytest.mark.parametrize("rerank", ["1000", "on", "999999999s", "30ms", None])
def test_no_client_chooses_how_long_others_wait_for_a_second_look(index, monkeypatch, rerank):
    seconds, real = [], second_look.read_passages
    monkeypatch.setattr(second_look, "read_passages", lambda *given: seconds.append(given[3]) or real(*given))
    monkeypatch.setattr(index.index, "_has_multi_vectors", True)
    base, limits = index.index.model.encode(["the red house"]), Limits(look_seconds=0.2)
    index._search(base, None, None, "the red house", SearchRequest(rerank=rerank), limits)
    # Without a word of the client it is 20 ms, less than the limit.
    assert seconds == [{"30ms": 0.03, None: 0.02}.get(rerank, 0.2)]


def test_only_the_first_hits_are_explained(index, monkeypatch):
    hits = [Hit(rank, 0.5, "/a.md", "text", 1, 1, "red house", 0.5) for rank in range(1, 101)]
    monkeypatch.setattr(index.index, "search_vectors", lambda *_, **__: [hits])
    found = index._search(
        np.zeros((1, 8), np.float32), None, None, "red", SearchRequest(explain=True), Limits()
    )
    assert [bool(hit.why) for hit in found] == [True] * EXPLAINED + [False] * (100 - EXPLAINED)


def test_a_search_by_a_base_vector_is_looked_at_where_its_text_is_sent(index, monkeypatch):
    asked = []
    monkeypatch.setattr(index.index, "search_vectors", lambda *_, **given: asked.append(given) or [[]])
    index._search(np.zeros((1, 8), np.float32), None, None, "red", SearchRequest(rerank="30ms"), Limits())
    assert (asked[0]["texts"], asked[0]["rerank"]) == (["red"], "30ms")
