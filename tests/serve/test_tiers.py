"""Requests that name a tier or a language, and those that leave it to the texts."""

import numpy as np
import pytest

import unbraid
from unbraid.serve import BundleEngine

ENGLISH = "the cat is in the house"
GERMAN = "die Katze und der Hund"


@pytest.fixture(scope="module")
def model(tiers_folder):
    return unbraid.load(tiers_folder, threads=1)


@pytest.fixture(scope="module")
def http(serving, indexing, model, no_vocabulary, tmp_path_factory):
    folder = tmp_path_factory.mktemp("notes")
    (folder / "hund.md").write_text(GERMAN)
    engine = BundleEngine(model, workers=1, openai_tokens=no_vocabulary)
    with (
        indexing(model, [folder / "hund.md"], folder / "ix") as (_, search),
        serving(engine, index=search) as one,
    ):
        yield one


def test_each_text_of_a_request_goes_to_the_tier_for_its_language(http, model, vectors):
    texts = [GERMAN, ENGLISH, GERMAN, "git rebase"]
    found = vectors(http.embed(texts))
    expected = [
        model.encode([text], tier=tier)[0] for text, tier in zip(texts, ["multi", "small"] * 2, strict=True)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_query_has_the_tier_of_queries(http, model, vectors):
    found = vectors(http.embed([ENGLISH], task="query"))
    np.testing.assert_allclose(found, model.encode([ENGLISH], task="query", tier="base"), atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "tier"),
    [({"tier": "nano"}, "nano"), ({"language": "de"}, "multi"), ({"tier": "nano", "language": "de"}, "nano")],
)
def test_a_request_may_name_a_tier_or_a_language(http, model, vectors, fields, tier):
    found = vectors(http.embed([ENGLISH, {"code": "catDog"}], **fields))
    code = tier if "tier" in fields else "small"
    expected = [model.encode([ENGLISH], tier=tier)[0], model.encode([unbraid.Code("catDog")], tier=code)[0]]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_token_ids_are_those_of_the_tier_that_is_named(http, model, vectors):
    ids, _ = model.tokenize([ENGLISH], tier="multi")
    np.testing.assert_allclose(
        vectors(http.embed(ids, tier="multi")), model.encode([ENGLISH], tier="multi"), atol=1e-5
    )


def test_a_search_encodes_its_query_as_the_index_does(http, model):
    answer = http.search(query=GERMAN, mode="symmetric").json()
    assert answer["data"][0]["cosine"] == pytest.approx(1, abs=1e-3)
    answer = http.search(query=GERMAN, mode="symmetric", tier="small").json()
    assert answer["data"][0]["score"] < 0.99
    one = http.search(query="the cat", query_language="de").json()["base"]
    assert (
        one
        == http.search(query="the cat", tier="multi").json()["base"]
        != http.search(query="the cat").json()["base"]
    )


def test_in_mode_symmetric_a_query_is_encoded_as_a_document(http, model):
    for mode, tier in (("symmetric", "small"), ("code", "base"), ("retrieval", "base")):
        base = http.search(query=ENGLISH, mode=mode).json()["base"]
        assert base == http.search(query=ENGLISH, mode=mode, tier=tier).json()["base"]


def test_texts_of_the_multilingual_tier_are_asked_by_its_own_queries(http, model):
    document = model.encode([GERMAN], task="document")[0]
    for tier in (None, "small"):
        query = model.encode([ENGLISH], task="query", tier=tier or "multi")[0]
        fields = {"tier": tier} if tier else {}
        (hit,) = http.search(query=ENGLISH, vectors_only=True, **fields).json()["data"]
        assert hit["cosine"] == pytest.approx(float(query @ document), abs=1e-5)


def test_both_vectors_of_a_query_come_back_and_make_the_same_search(http, refused):
    first = http.search(query=ENGLISH, vectors_only=True).json()
    again = http.search(base=first["base"], own=first["own"]).json()
    assert again["data"] == first["data"] and not again["encoded"] and again["own"] == first["own"]
    assert again["usage"]["total_tokens"] == 0
    assert http.search(base=first["base"]).json()["data"] != first["data"]
    mixed = http.search(query=ENGLISH, base=first["base"], own=first["own"]).json()
    assert mixed["data"] == http.search(query=ENGLISH).json()["data"]
    assert mixed["usage"]["total_tokens"] == 0
    refused(http.search(query=ENGLISH, own=first["own"]), 400, "invalid_input")
    wrong = http.search(base=first["base"], own="AAAA")
    refused(wrong, 400, "invalid_base")
    assert wrong.json()["error"]["param"] == "own"


def test_models_list_the_tiers_with_their_languages(http):
    first = http.get("/v1/models").json()["data"][0]
    assert (first["tier"], first["query_tier"]) == ("small", "base")
    assert first["tiers"]["multi"] == ["de", "en", "ru"] and next(iter(first["tiers"])) == "small"


def test_unknown_tiers_and_languages_are_refused_by_name(http, refused):
    assert "expected one of small, base, multi, nano" in refused(
        http.embed("a", tier="large"), 400, "invalid_tier"
    )
    assert "'german'" in refused(http.embed("a", language="german"), 400, "invalid_language")
    wrong = http.search(query="a", query_language="german")
    refused(wrong, 400, "invalid_language")
    assert wrong.json()["error"]["param"] == "query_language"
    refused(http.embed("a", tier=3), 400, "string_type")


def test_english_requests_open_no_tier_for_other_languages(tiers_folder, serving, no_vocabulary):
    fresh = unbraid.load(tiers_folder, threads=1)
    with serving(BundleEngine(fresh, workers=1, openai_tokens=no_vocabulary)) as http:
        http.embed([ENGLISH])
        assert {tier for tier, _ in fresh._texts} == {"small", "base"}  # warm for documents and queries
        http.embed([GERMAN])
        assert {tier for tier, _ in fresh._texts} == {"small", "base", "multi"}
