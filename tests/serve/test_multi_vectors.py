"""Multi-vectors of a bundle over HTTP, in Jina's form."""

import numpy as np
import pytest

import unbraid
from unbraid.serve import BundleEngine

GERMAN = "die Katze und der Hund"


@pytest.fixture(scope="module")
def model(tiers_folder):
    """The bundle whose tier small has multi-vectors; its queries go to base, German texts to multi."""
    return unbraid.load(tiers_folder, threads=1, precision="fp32")


@pytest.fixture(scope="module")
def http(serving, model, no_vocabulary):
    with serving(BundleEngine(model, workers=1, openai_tokens=no_vocabulary)) as one:
        yield one


def multi_vectors(answer):
    assert answer.status_code == 200, answer.text
    return [np.array(one["embeddings"], np.float32).reshape(-1, 8) for one in answer.json()["data"]]


def same(found, expected):
    assert [one.shape for one in found] == [one.shape for one in expected]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_bundle_gives_what_encode_gives_and_counts_all_tokens(http, model):
    texts = ["the cat is in the house", "moon", "return self"]
    answer = http.embed(texts, return_multivector=True, tier="small")
    same(multi_vectors(answer), model.encode(texts, multi_vector=True, tier="small"))
    ids, _ = model.tokenize(texts)
    assert answer.json()["usage"]["total_tokens"] == sum(map(len, ids))
    assert {one["object"] for one in answer.json()["data"]} == {"embeddings"}


def test_code_and_token_ids_have_multi_vectors_too(http, model):
    ids, _ = model.tokenize(["red bright moon"])
    found = multi_vectors(http.embed([{"code": "catDog"}, *ids], return_multivector=True))
    same(found, model.encode([unbraid.Code("catDog"), "red bright moon"], multi_vector=True))


def test_queries_and_documents_are_of_one_tier_whatever_the_task(http, model):
    assert model.query_tier != model.tier
    plain = multi_vectors(http.embed("red moon", return_multivector=True))
    for task in ("retrieval.query", "retrieval.passage", "code"):
        same(multi_vectors(http.embed("red moon", return_multivector=True, task=task)), plain)


def test_what_has_no_multi_vector_is_refused(http, refused, data_url, png):
    def refusal(item, **fields):
        return refused(http.embed(["a", item], return_multivector=True, **fields), 400, "unsupported")

    assert "item 1: pictures" in refusal(data_url(png()))
    assert "item 1 goes to tier multi, which has no multi-vectors: send tier: small" in refusal(GERMAN)
    assert "item 0 goes to tier nano" in refusal("a", tier="nano")
    refusal("a", dimensions=64)
    refusal("a", encoding_format="base64")
    multi_vectors(http.embed(GERMAN, return_multivector=True, tier="small"))


def test_a_text_without_a_word_has_no_vectors_and_breaks_nothing(http):
    found = multi_vectors(http.embed(["\u200b", "moon"], return_multivector=True, tier="small"))
    assert [len(one) for one in found] == [0, 1]


def test_long_texts_are_cut_and_counted(http, model):
    long = "moon red " * 100
    answer = http.embed([long, "cat"], return_multivector=True)
    assert answer.headers["x-truncated-items"] == "1"
    same(multi_vectors(answer)[:1], model.encode([long], multi_vector=True, on_truncate="ignore"))
    assert http.embed([long], return_multivector=True, truncate=False).status_code == 400


def test_many_requests_share_batches_with_single_vectors(http, model):
    from concurrent.futures import ThreadPoolExecutor

    texts = [f"cat {number} moon" for number in range(40)]
    expected = model.encode(texts, multi_vector=True)
    with ThreadPoolExecutor(8) as threads:
        multi = threads.map(lambda text: http.embed(text, return_multivector=True), texts)
        single = threads.map(http.embed, texts)
        same([multi_vectors(one)[0] for one in multi], expected)
        assert all(one.status_code == 200 for one in single)


def test_models_say_which_tiers_have_them(http):
    about = http.get("/v1/models").json()["data"][0]
    assert (about["multi_vector"], about["multi_vector_dims"]) == (True, {"small": 8})


def test_a_bundle_without_heads_says_so(model, serving, refused, no_vocabulary, monkeypatch):
    monkeypatch.setattr(unbraid.Embedder, "multi_vector_dims", {})
    with serving(BundleEngine(model, workers=1, openai_tokens=no_vocabulary)) as http:
        assert "no tier of starter" in refused(http.embed("a", return_multivector=True), 400, "unsupported")
        assert http.get("/v1/models").json()["data"][0]["multi_vector"] is False
