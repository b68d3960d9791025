"""Which tier encoded an item is stored with it, and queries have a tier of their own."""

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import unbraid
from unbraid.index.store import edge as edge_store
from unbraid.index.store import qdrant_store
from unbraid.index.store.checksum import damage, to_entry, to_payload
from unbraid.index.store.entry import ADDED, Entry
from unbraid.index.store.meta import parse_meta, read_meta

GERMAN = "die Katze und der Hund"
THAI = "แมวกับสุนัขนอนอยู่"


@pytest.fixture(scope="module")
def model(tiers_folder: Path) -> unbraid.Embedder:
    return unbraid.load(tiers_folder, threads=1)


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("notes")
    (folder / "cat.md").write_text("the cat is in the house")
    (folder / "hund.md").write_text(GERMAN)
    (folder / "maew.md").write_text(THAI, encoding="utf-8")
    (folder / "dog.py").write_text("def dog():\n    return 'Haus und Hund'\n")
    Image.new("RGB", (40, 30), "red").save(folder / "red.png")
    return folder


@pytest.fixture(scope="module")
def made(model: unbraid.Embedder, notes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of `notes`. Tests must not change it."""
    folder = tmp_path_factory.mktemp("made") / "ix"
    with unbraid.open_index(folder, model=model) as index:
        index.add(notes)
    return folder


def tiers_of(index: unbraid.index.index.Index) -> dict[str, tuple[str, str]]:
    found = {}
    for entries, _, _ in index.store.items():
        found.update({Path(entry.path).name: (entry.tier, entry.text_language) for entry in entries})
    return found


EXPECTED = {
    "cat.md": ("small", ""),
    "hund.md": ("multi", "de"),
    "maew.md": ("multi", "th"),
    "dog.py": ("small", ""),
    "red.png": ("", ""),
}


def test_each_item_says_which_tier_encoded_it_and_its_language_unless_english(made: Path) -> None:
    with unbraid.open_index(made, read_only=True) as index:
        assert tiers_of(index) == EXPECTED
        stats = index.stats()
    assert stats.tiers == {"multi": 2, "small": 3}  # whose 24 tokens cut one file in two
    assert stats.text_languages == {"de": 1, "th": 1}


def test_the_vectors_are_those_of_the_tiers(made: Path, model: unbraid.Embedder) -> None:
    expected = {"cat.md": ("the cat is in the house", "small"), "hund.md": (GERMAN, "multi")}
    with unbraid.open_index(made, read_only=True) as index:
        for entries, vectors, _ in index.store.items():
            for entry, vector in zip(entries, vectors, strict=True):
                if (name := Path(entry.path).name) in expected:
                    text, tier = expected[name]
                    np.testing.assert_allclose(vector, model.encode([text], tier=tier)[0], atol=1e-6)


def test_queries_go_to_the_query_tier_and_chunks_to_that_of_documents(
    tiers_folder: Path, notes: Path, tmp_path: Path
) -> None:
    fresh = unbraid.load(tiers_folder, threads=1)
    with unbraid.open_index(tmp_path / "ix", model=fresh) as index:
        index.add(notes / "cat.md")
        assert {tier for tier, _ in fresh._texts} == {"small"}
        index.search("the cat is in the house")
        assert {tier for tier, _ in fresh._texts} == {"small", "base"}
        index.search(GERMAN)
        assert {tier for tier, _ in fresh._texts} == {"small", "base", "multi"}


def test_a_query_in_the_language_of_a_document_finds_it(made: Path, model: unbraid.Embedder) -> None:
    with unbraid.open_index(made, model=model, read_only=True) as index:
        best = index.search(GERMAN, mode="symmetric")[0]
    assert Path(best.path).name == "hund.md" and best.cosine == pytest.approx(1, abs=1e-3)


def test_a_text_is_like_itself_in_mode_symmetric(made: Path, model: unbraid.Embedder) -> None:
    with unbraid.open_index(made, model=model, read_only=True) as index:
        hits = index.search("the cat is in the house", mode="symmetric", vectors_only=True)
    cosines = {Path(hit.path).name: hit.cosine for hit in hits}
    assert cosines["cat.md"] == pytest.approx(1, abs=1e-3)


def test_a_tier_that_is_named_is_that_of_both_sides(tiers_folder: Path, notes: Path, tmp_path: Path) -> None:
    nano = unbraid.load(tiers_folder, threads=1, tier="nano")
    with unbraid.open_index(tmp_path / "ix", model=nano) as index:
        index.add(notes)
        index.search("the cat is in the house")
        assert index.stats().tiers == {"nano": 5} and index.stats().text_languages == {}
    assert {tier for tier, _ in nano._texts} == {"nano"}


def test_tiers_of_one_space_share_an_index(tiers_folder: Path, notes: Path, tmp_path: Path) -> None:
    for tier, file in (("nano", "cat.md"), ("multi", "hund.md")):
        with unbraid.open_index(
            tmp_path / "ix", model=unbraid.load(tiers_folder, threads=1, tier=tier)
        ) as index:
            index.add(notes / file)
            count = index.stats().tiers
    assert count == {"nano": 1, "multi": 1}


def test_a_moved_file_keeps_the_tier_that_encoded_it(
    model: unbraid.Embedder, tiers_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.md").write_text(GERMAN)
    with unbraid.open_index(tmp_path / "ix", model=model) as index:
        index.add(tmp_path / "notes")
    (tmp_path / "notes" / "a.md").rename(tmp_path / "notes" / "b.md")
    nano = unbraid.load(tiers_folder, threads=1, tier="nano")
    with unbraid.open_index(tmp_path / "ix", model=nano) as index:
        assert index.add(tmp_path / "notes").moved == 1
        assert tiers_of(index) == {"b.md": ("multi", "de")}


@pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning")
def test_a_file_and_a_server_take_the_tiers_along(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qdrant_client import QdrantClient

    pytest.importorskip("pyarrow")
    with unbraid.open_index(made, read_only=True) as index:
        index.export(tmp_path / "ix.parquet")
        with unbraid.open_index(tmp_path / "new") as other:
            other.import_file(tmp_path / "ix.parquet")
            assert tiers_of(other) == EXPECTED and other.stats().tiers == index.stats().tiers
        monkeypatch.setattr(qdrant_store, "connect", lambda url: QdrantClient(path=str(tmp_path / "server")))
        with unbraid.open_index(qdrant="x") as server:
            index.copy_to(server)
            assert tiers_of(server) == EXPECTED
            assert server.stats().tiers == index.stats().tiers
            assert server.stats().text_languages == index.stats().text_languages


def test_an_index_names_the_languages_that_its_bundle_was_trained_on(made: Path) -> None:
    assert read_meta(made).provenance.languages == ("de", "en", "ru")


# -- indexes from before ------------------------------------------------------------------------------------


def test_an_entry_without_a_tier_is_stored_as_it_was_before() -> None:
    row = np.ones(4, np.float32)
    plain = Entry("/a.md", "text", 1, 1, "a", "s1", 1, 1, 0, 1, "markdown")
    payload = to_payload(plain, row)
    assert not set(ADDED) & set(payload)
    assert damage(None, payload, row) is None and to_entry(payload) == plain


@pytest.fixture
def old(
    notes: Path, bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, Path]:
    """An index as it was made before, and the bundle that made it: nothing is said or counted of tiers."""
    place = tmp_path / "old"
    model = unbraid.load(bundle_folder, threads=1)
    with monkeypatch.context() as patch:
        patch.setattr(edge_store, "KEYWORDS", ("modality", "language"))
        patch.setattr(unbraid.Embedder, "route", lambda self, items: [("", "")] * len(items))
        with unbraid.open_index(place, model=model) as index:
            index.add(notes)
    return place, bundle_folder


def test_an_old_index_opens_counts_searches_and_verifies(old: tuple[Path, Path]) -> None:
    place, bundle = old
    with unbraid.open_index(place, model=unbraid.load(bundle, threads=1)) as index:
        stats = index.stats()
        assert (stats.tiers, stats.text_languages, stats.files) == ({}, {}, 5)
        assert index.search("the cat is in the house", mode="symmetric")[0].path.endswith("cat.md")
        assert index.verify().intact
        assert set(tiers_of(index).values()) == {("", "")}


def test_an_old_index_counts_the_tiers_of_what_is_added(old: tuple[Path, Path], tmp_path: Path) -> None:
    place, bundle = old
    (tmp_path / "more.md").write_text("the moon")
    with unbraid.open_index(place, model=unbraid.load(bundle, threads=1)) as index:
        index.add(tmp_path / "more.md")
        assert index.stats().tiers == {"small": 1} and index.verify().intact
        assert Counter(tiers_of(index).values()) == {("", ""): 5, ("small", ""): 1}


def test_provenance_without_languages_is_read(made: Path) -> None:
    about = json.loads(json.dumps(asdict(read_meta(made))))
    assert parse_meta(about) == read_meta(made)
    del about["provenance"]["languages"]
    assert parse_meta(about).provenance.languages == ()
