"""Texts of the multilingual tier are asked by queries of their own tier."""

from pathlib import Path

import numpy as np
import pytest

import unbraid
from unbraid.index.search.by_tier import merge_hits, search_by_tier
from unbraid.index.search.hit import Hit
from unbraid.index.store.filter import Filter

GERMAN = "die Katze und der Hund"
ENGLISH = "the cat is in the house"
BASE, OWN = np.zeros((1, 4), np.float32), np.ones((1, 4), np.float32)


def hit(score, path="a"):
    return Hit(1, score, path, "text", 1, 1, "")


class Asked:
    """A search that notes what it was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, base, *, filter):
        self.asked.append((float(base[0, 0]), filter.tier, filter.not_tier))
        return [[hit(0.2 + 0.5 * base[0, 0], filter.tier or filter.not_tier)] for _ in base]


def test_texts_of_the_tier_are_asked_by_its_own_queries_and_others_by_the_routed_ones():
    asked = Asked()
    ((first, second),) = search_by_tier(asked, BASE, OWN, "multi", Filter(), 5, alone=False)
    assert asked.asked == [(1.0, "multi", ""), (0.0, "", "multi")]
    assert (first.score, first.rank, second.rank) == (0.7, 1, 2)


def test_a_tier_that_encoded_everything_is_asked_alone():
    asked = Asked()
    search_by_tier(asked, BASE, OWN, "multi", Filter(), 5, alone=True)
    assert asked.asked == [(1.0, "", "")]


def test_queries_that_go_to_the_tier_anyway_are_asked_once():
    asked = Asked()
    search_by_tier(asked, OWN, OWN, "multi", Filter(), 5, alone=False)
    assert asked.asked == [(1.0, "", "")]


def test_merged_hits_are_the_likeliest_ranked_anew():
    found = merge_hits([[hit(0.9, "a"), hit(0.3, "b")], [hit(0.5, "c"), hit(0.3, "d")]], 3)
    assert [(one.rank, one.path) for one in found] == [(1, "a"), (2, "c"), (3, "b")]


@pytest.fixture(scope="module")
def model(tiers_folder: Path) -> unbraid.Embedder:
    return unbraid.load(tiers_folder, threads=1)


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "cat.md").write_text(ENGLISH)
    (tmp_path / "notes" / "hund.md").write_text(GERMAN)
    return tmp_path / "notes"


def test_the_multilingual_tier_is_that_of_other_languages_unless_a_tier_was_named(model, tiers_folder):
    assert model.multilingual_tier == "multi"
    assert unbraid.load(tiers_folder, tier="small").multilingual_tier is None
    assert unbraid.load("starter").multilingual_tier is None or "multi" in unbraid.load("starter").tiers


def cosines(hits):
    return {Path(one.path).name: one.cosine for one in hits}


def test_each_chunk_of_a_mixed_index_has_the_cosine_to_the_query_of_its_own_tier(model, notes, tmp_path):
    with unbraid.open_index(tmp_path / "ix", model=model) as index:
        index.add(notes)
        assert index.own_tier == "multi"
        found = cosines(index.search("the house", vectors_only=True))
    document = {
        name: model.encode([text], task="document")[0]
        for name, text in (("cat.md", ENGLISH), ("hund.md", GERMAN))
    }
    routed = model.encode(["the house"], task="query")[0]
    own = model.encode(["the house"], task="query", tier="multi")[0]
    assert found["cat.md"] == pytest.approx(float(routed @ document["cat.md"]), abs=1e-5)
    assert found["hund.md"] == pytest.approx(float(own @ document["hund.md"]), abs=1e-5)


def test_an_index_made_by_the_tier_is_asked_by_it_alone(model, notes, tiers_folder, tmp_path):
    with unbraid.open_index(
        tmp_path / "ix", model=unbraid.load(tiers_folder, tier="multi", threads=1)
    ) as index:
        index.add(notes)
        assert index.own_tier is None  # a tier was named
        named = cosines(index.search("the house", vectors_only=True))
    with unbraid.open_index(tmp_path / "ix", model=model) as index:
        assert cosines(index.search("the house", vectors_only=True)) == pytest.approx(named, abs=1e-6)


def test_an_index_of_english_has_no_own_tier(model, notes, tmp_path):
    with unbraid.open_index(tmp_path / "ix", model=model) as index:
        index.add(notes / "cat.md")
        assert index.own_tier is None
        index.add(notes)
        assert index.own_tier == "multi"


def test_the_own_tier_follows_what_a_file_becomes(model, notes, tmp_path):
    with unbraid.open_index(tmp_path / "ix", model=model) as index:
        index.add(notes / "cat.md")
        assert (index.own_tier, index.count()) == (None, 1)
        (notes / "cat.md").write_text(GERMAN)
        index.add(notes / "cat.md")
        assert (index.own_tier, index.count()) == ("multi", 1)
