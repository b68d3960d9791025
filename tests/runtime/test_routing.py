"""Which tier encodes a text."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import unbraid
from unbraid.bundle import read_bundle
from unbraid.errors import BundleError, ItemError
from unbraid.items import Code
from unbraid.runtime import routing
from unbraid.runtime.routing import Route, check_language, query_side, tier_of, trained_languages
from unbraid.tasks import SEARCH_MODES

TRAINED = {"small": ("en",), "multi": ("de", "en", "fr"), "wide": ("de", "en", "fr", "th", "ja")}
ENGLISH = "the cat is in the house"
GERMAN = "die Katze und der Hund"
RUSSIAN = "Кошка и собака спят в этом доме"
THAI = "แมวกับสุนัขนอนอยู่ในบ้าน"
RUNES = "ᚠᚢᚦᚨᚱᚲ"
SIDES = {"retrieval": "query", "symmetric": "document", "code": "query"}
ITEMS = [ENGLISH, GERMAN, RUSSIAN, THAI, "git rebase", Code("def chat(): return Hund"), Code("catDog"), ""]


@pytest.fixture(scope="module")
def routed(tiers_folder) -> unbraid.Embedder:
    """A model that routes, on fp32 graphs, where a vector does not depend on its batch."""
    return unbraid.load(tiers_folder, threads=1, precision="fp32")


@pytest.fixture
def fresh(tiers_folder) -> Callable[..., unbraid.Embedder]:
    return lambda **options: unbraid.load(tiers_folder, threads=1, **options)


def opened(model: unbraid.Embedder) -> set[str]:
    return {tier for tier, _ in model._texts}


# -- the rule ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "tier"), [("en", "base"), ("de", "multi"), ("th", "wide"), ("km", "wide"), ("und", "wide")]
)
def test_a_language_goes_to_the_first_tier_trained_on_it_or_to_the_widest(language, tier):
    assert tier_of(language, "base", TRAINED) == tier


def test_where_no_tier_says_its_languages_every_text_goes_one_way():
    assert tier_of("de", "small", {}) == "small"


@given(st.sampled_from(["en", "de", "th", "xx"]), st.permutations(list(TRAINED)))
def test_only_the_tier_for_english_depends_on_what_is_asked_for(language, order):
    trained = {tier: TRAINED[tier] for tier in order}
    found = {tier_of(language, english, trained) for english in ("a", "b")}
    assert found == {"a", "b"} if language == "en" else len(found) == 1


def test_a_bundle_of_english_tiers_routes_nothing(bundle_folder, tiers_folder):
    assert trained_languages(read_bundle(bundle_folder)) == {}
    assert list(trained_languages(read_bundle(tiers_folder))) == ["small", "base", "multi", "nano"]


@pytest.mark.parametrize("language", ["german", "d", "DE", "zh-CN", "", "d1", 3])
def test_a_language_that_is_no_code_is_refused_by_name(fresh, language):
    with pytest.raises(ItemError, match="expected a code of two or three small letters, such as de or zh"):
        check_language(language)
    with pytest.raises(ItemError, match="language "):
        fresh(language=language)


# -- what a model does -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("item", "route"),
    [
        (ENGLISH, ("small", "en")),
        ("git rebase --onto main", ("small", "en")),
        ("", ("small", "en")),
        (GERMAN, ("multi", "de")),
        (RUSSIAN, ("multi", "ru")),
        (THAI, ("multi", "th")),
        (RUNES, ("multi", "und")),
        (Code("# Die Katze und der Hund sind in dem Haus"), ("small", "")),
        (Image.new("RGB", (4, 4)), ("", "")),
    ],
)
def test_an_item_goes_where_its_language_says(routed, item, route):
    assert routed.route([item]) == [Route(*route)]


def test_queries_in_english_and_code_go_to_the_query_tier_and_others_to_theirs(routed):
    queries = [ENGLISH, Code("catDog"), GERMAN]
    for asked in ({"side": "query"}, {"task": "query"}):
        assert [tier for tier, _ in routed.route(queries, **asked)] == ["base", "base", "multi"]
    for asked in ({}, {"side": "document"}, {"task": "document"}, {"task": "code"}, {"task": "symmetric"}):
        assert [tier for tier, _ in routed.route(queries, **asked)] == ["small", "small", "multi"]
    assert routed.route([ENGLISH], task="query", side="document")[0].tier == "small"


def test_a_tier_that_is_named_takes_everything_and_nobody_looks_at_the_texts(fresh, monkeypatch):
    monkeypatch.setattr("unbraid.embedder.language_of", lambda _: pytest.fail("looked"))
    texts = [ENGLISH, GERMAN, Code("catDog")]
    for found in (
        fresh(tier="multi").route(texts),
        fresh().route(texts, tier="multi"),
        fresh(tier="nano").route(texts, tier="multi", side="query"),
    ):
        assert found == [("multi", "")] * 3
    assert fresh(tier="multi").tier == fresh(tier="multi").query_tier == "multi"


def test_a_language_that_is_said_goes_before_the_one_that_would_be_found(fresh, monkeypatch):
    monkeypatch.setattr("unbraid.embedder.language_of", lambda _: pytest.fail("looked"))
    assert fresh(language="de").route(["Hund", ENGLISH]) == [("multi", "de")] * 2
    assert fresh().route(["Hund"], language="km") == [("multi", "km")]
    assert fresh(language="de").route([GERMAN], language="en") == [("small", "en")]


def test_tier_goes_before_language(fresh):
    assert fresh(tier="nano", language="de").route([GERMAN]) == [("nano", "de")]


def test_an_old_bundle_routes_nothing_and_looks_at_no_text(bundle_folder, monkeypatch):
    monkeypatch.setattr("unbraid.embedder.language_of", lambda _: pytest.fail("looked"))
    old = unbraid.load(bundle_folder, threads=1)
    assert old.route([GERMAN, Code("x")], side="query") == [("small", "")] * 2
    np.testing.assert_array_equal(old.encode([GERMAN], side="query"), old.encode([GERMAN], tier="small"))


@pytest.mark.parametrize("call", ["encode", "route"])
def test_unknown_tiers_languages_and_sides_are_refused_by_name(routed, call):
    use = getattr(routed, call)
    with pytest.raises(BundleError, match="has no tier 'large'; it has small, base, multi, nano"):
        use(["cat"], tier="large")
    with pytest.raises(ItemError, match="language 'german': expected a code"):
        use(["cat"], language="german")
    with pytest.raises(ItemError, match="side is 'left': expected 'document' or 'query'"):
        use(["cat"], side="left")


# -- vectors -----------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(ITEMS), max_size=12), st.sampled_from([None, "query"]))
def test_any_mix_of_languages_comes_back_in_order_each_by_its_tier(routed, items, side):
    found = routed.encode(items, side=side, on_truncate="ignore")
    routes = routed.route(items, side=side)
    for row, item, (tier, _) in zip(found, items, routes, strict=True):
        alone = routed.encode([item], tier=tier, on_truncate="ignore")[0]
        np.testing.assert_allclose(row, alone, atol=1e-5)


def test_the_tiers_of_the_test_bundle_differ(routed):
    rows = [routed.encode([ENGLISH], tier=tier)[0] for tier in ("small", "base", "multi")]
    assert np.triu(np.array(rows) @ np.array(rows).T, 1).max() < 0.99


def test_pictures_and_files_among_texts_keep_their_place(routed, tmp_path):
    (tmp_path / "haus.txt").write_text(GERMAN, encoding="utf-8")
    (tmp_path / "cat.py").write_text("catDog", encoding="utf-8")
    red = Image.new("RGB", (8, 8), "red")
    items = [red, tmp_path / "haus.txt", ENGLISH, tmp_path / "cat.py"]
    assert [tier for tier, _ in routed.route(items)] == ["", "multi", "small", "small"]
    expected = [
        routed.encode([red])[0],
        routed.encode([GERMAN], tier="multi")[0],
        routed.encode([ENGLISH], tier="small")[0],
        routed.encode([Code("catDog")], tier="small")[0],
    ]
    np.testing.assert_allclose(routed.encode(items), expected, atol=1e-5)


def test_a_tier_is_opened_when_a_text_first_goes_there(fresh):
    model = fresh()
    assert opened(model) == set()
    model.encode([ENGLISH, Code("catDog"), "git rebase"])
    assert opened(model) == {"small"}
    model.encode([ENGLISH], side="query")
    assert opened(model) == {"small", "base"}
    model.encode([GERMAN])
    assert opened(model) == {"small", "base", "multi"}


def test_looking_where_texts_go_opens_nothing(fresh):
    model = fresh()
    model.route(ITEMS)
    assert opened(model) == set()


def test_texts_over_the_length_are_told_for_each_tier(routed):
    with pytest.warns(UserWarning, match="1 of 2 items are longer") as caught:
        routed.encode([ENGLISH, ENGLISH * 9, GERMAN, GERMAN * 9])
    assert {warning.filename for warning in caught} == {__file__}


def test_token_ids_are_read_and_encoded_by_the_tier_that_is_named(routed):
    (ids,), _ = routed.tokenize(["the cat"], tier="multi")
    np.testing.assert_allclose(
        routed.encode_tokens([ids], tier="multi"), routed.encode(["the cat"], tier="multi"), atol=1e-6
    )


def test_a_model_tells_every_tier_that_a_text_may_go_to(fresh, embedder):
    assert fresh().tiers == ("small", "base", "multi")
    assert fresh(tier="nano").tiers == ("nano",)
    assert embedder.tiers == ("small",)


def test_a_custom_mapper_keeps_the_routes(routed, tmp_path):
    from unbraid.custom_mapper.mapper_file import CustomMapper

    other = routed.with_mapper(CustomMapper("own", routed.base_id, np.eye(512, dtype=np.float32), None, {}))
    assert other.route([ENGLISH, GERMAN]) == routed.route([ENGLISH, GERMAN])


def test_the_sides_are_the_words_of_the_command_line():
    assert set(routing.get_args(routing.Side)) == {"query", "document"}


def test_a_query_is_encoded_as_a_document_where_one_task_serves_both_sides():
    assert {mode: query_side(tasks) for mode, tasks in SEARCH_MODES.items()} == SIDES
    assert query_side(("mine", "mine")) == "document"
    assert query_side(("mine-query", "mine-document")) == "query"
