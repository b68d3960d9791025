"""An index that stores the token vectors of one tier, whatever tier encodes its passages."""

import hashlib
import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unbraid
from unbraid.base_encoders.multi_vector_head import HEAD_FOLDER, MultiVectorHead
from unbraid.bundle import manifest_hash
from unbraid.distill.recipe import HeadTraining, Look, Recipe
from unbraid.errors import BundleError
from unbraid.export import export_bundle, export_heads
from unbraid.index.search import second_look
from unbraid.index.search.document_tokens import Passage, Reading, head_of, read_passages, stored_by
from unbraid.index.search.second_look import Rerank, changes, second_looks
from unbraid.index.search.token_cache import FILE, TokenCache
from unbraid.multi_vector.codes import pack
from unbraid.multi_vector.maxsim import maxsim
from unbraid.training.record import recipe_table

ENGLISH, GERMAN = "the cat and the dog", "der Hund und die Katze gehen heute noch einmal in das rote Haus"


@pytest.fixture(scope="module")
def model(tiers_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The bundle with three tiers, whose multi has a head that an index is to store the vectors of."""
    import torch

    folder = tmp_path_factory.mktemp("looking")
    torch.manual_seed(3)
    head = folder / "run" / "multi" / HEAD_FOLDER
    MultiVectorHead(32, 16, inner=0, hidden=0).save(head)
    (head / "record.json").write_text(json.dumps({"results": {}}))
    recipe = Recipe(
        "looking",
        "1",
        1,
        head=HeadTraining(tiers=("multi",), dim=16, inner=0, hidden=0),
        look_tier="multi",
        look={"multi": Look(3.0, 2.0)},
    )
    export_heads(recipe_table(recipe), folder / "run", unbraid.load(tiers_folder), folder / "bundle")
    return unbraid.load(folder / "bundle", threads=1)


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "english.md").write_text(ENGLISH)
    (folder / "german.md").write_text(GERMAN)
    return folder


def test_the_bundle_names_the_tier_and_what_it_counts(model):
    assert stored_by(model) == model.bundle.look_tier == "multi"
    assert model.bundle.tiers["multi"]["text"].multi_vector.look == 3.0
    assert model.bundle.tiers["multi"]["text"].multi_vector.whole == 2.0
    assert model.bundle.tiers["small"]["text"].multi_vector.look == 7.0
    assert stored_by(object()) is None
    card = (model.bundle.folder / "README.md").read_text()
    assert "- Multi-vectors of multi: a projection of frozen token states, to 16 numbers a token" in card
    assert "An index stores those of multi." in card


def test_a_bundle_that_is_exported_from_the_whole_run_says_so_too(tiered, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(tiered.run, run)
    head = run / "multi" / HEAD_FOLDER
    MultiVectorHead(32, 16, inner=0, hidden=0).save(head)
    recipe = {"look_tier": "multi", "look": {"multi": {"tokens": 3.0, "whole": 2.0}}}
    (head / "record.json").write_text(json.dumps({"results": {}, "recipe": recipe}))
    export_bundle(run, tmp_path / "bundle")
    bundle = unbraid.load(tmp_path / "bundle").bundle
    spec = bundle.tiers["multi"]["text"].multi_vector
    assert (bundle.look_tier, spec.look, spec.whole) == ("multi", 3.0, 2.0)


def test_without_one_each_tier_stores_its_own(embedder):
    assert stored_by(embedder) is None


def test_what_is_stored_is_read_by_that_tier_for_passages_of_every_tier(model, notes, tmp_path):
    with unbraid.open_index(tmp_path / "ix", model=model) as index:
        index.add(notes, multi_vector=True, progress=False)
        entries = {Path(one.path).name: one for some, _, _ in index.store.items() for one in some}
        assert entries["german.md"].tier == "multi" != entries["english.md"].tier
        assert index.reader == "multi"
        cache = TokenCache(tmp_path / "ix")
        assert cache.bytes() > 0
        odds = {hit.path: hit.score for hit in index.search("the dog", rerank="off")}
        calls = []
        keep = type(model).token_vectors

        def counted(self: Any, items: Any, **given: Any) -> Any:
            calls.append((list(items), given["tier"]))
            return keep(self, items, **given)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(model), "token_vectors", counted)
            again = {hit.path: hit.score for hit in index.search("the dog")}
        assert calls == [(["the dog"], "multi")]  # both passages were stored
        assert odds.keys() == again.keys() and odds != again


def test_its_scores_count_what_the_bundle_says(model, notes, tmp_path):
    (notes / "more.md").write_text("a red house and a river")
    (notes / "again.md").write_text("search vector model")
    (one,) = second_looks(model, ["the dog"], 0.5, Rerank(), TokenCache(None), "multi")
    assert one is not None and one.head.tier == "multi"
    with unbraid.open_index(tmp_path / "ix", model=model) as index:
        index.add(notes, multi_vector=True, progress=False)
        entries = [one for some, _, _ in index.store.items() for one in some]
    found = one.again(
        np.zeros(len(entries)), list(range(len(entries))), lambda ids: [entries[n] for n in ids]
    )
    passages = [Passage.of(model, each, "multi") for each in entries]
    read = read_passages(model, passages, TokenCache(None))
    expected = changes(maxsim(one.query, [each.tokens for each in read]), 1.5)
    others = np.asarray([each.tier != "multi" for each in entries])
    assert others.sum() == 3
    # What multi has encoded itself gains nothing by its base vector, which the first ranking knows.
    cosines = [unit(one.query.base) @ each.base for each, other in zip(read, others, strict=True) if other]
    expected[others] += changes(np.asarray(cosines), 1.0)
    assert found == pytest.approx(expected)
    assert np.abs(changes(np.asarray(cosines), 1.0)).max() > 1e-3


def unit(vector: Any) -> Any:
    return vector / np.linalg.norm(vector)


def test_what_is_read_is_what_the_tier_gives(model):
    texts = [ENGLISH, GERMAN]
    exact = model.token_vectors(texts, tier="multi", on_truncate="ignore")
    base = model.encode(texts, tier="multi", on_truncate="ignore")
    for one, whole in zip(exact, base, strict=True):
        assert (one.base == whole).all()
        read = Reading(one.vectors, unit(one.base))
        again = Reading.of(read.packed(), head_of(model, "multi", "text"), len(whole))
        assert (
            np.einsum("td,td->t", read.tokens, again.tokens) > 0.98
        ).all() and read.base @ again.base > 0.98


@pytest.fixture
def calls(monkeypatch):
    """The tiers of all calls of `token_vectors`."""
    tiers: list[str] = []
    keep = unbraid.Embedder.token_vectors

    def counted(self: Any, items: Any, **given: Any) -> Any:
        tiers.append(given["tier"])
        return keep(self, items, **given)

    monkeypatch.setattr(unbraid.Embedder, "token_vectors", counted)
    return tiers


def test_what_is_encoded_when_it_is_needed_is_read_by_the_tier_of_each_passage(model, notes, tmp_path, calls):
    with unbraid.open_index(tmp_path / "ix", model=model) as index:
        index.add(notes, progress=False)
        assert index.reader is None and not (tmp_path / "ix" / FILE).exists()
        index.search(ENGLISH, rerank="on")
        assert calls == ["small", "small"]  # query and passage; base and multi have no head, or another


def test_an_index_without_a_root_for_it_any_more_is_read_by_each_tier(model, notes, tmp_path):
    with unbraid.open_index(tmp_path / "ix", model=model) as index:
        index.add(notes, multi_vector=True, progress=False)
        assert index.reader == "multi"
        index.remove_root(notes)
        assert index.reader is None


def test_the_parts_of_an_index_of_two_tiers_share_the_time(model, notes, tmp_path, monkeypatch):
    given = []
    keep = second_look.read_passages

    def slow(model: Any, passages: Any, cache: Any, seconds: Any) -> Any:
        given.append(seconds)
        time.sleep(0.02)
        return keep(model, passages, cache, seconds)

    monkeypatch.setattr(second_look, "read_passages", slow)
    with unbraid.open_index(tmp_path / "ix", model=model) as index:
        index.add(notes, multi_vector=True, progress=False)
        index.search("the dog", rerank="5s")
        assert len(given) == 2 and given[0] == 5 and given[1] <= 4.98
        index.search("the dog", rerank="10ms")
        assert given[3] == 0


def test_rows_of_heads_without_base_vectors_are_those_of_the_version_before(model):
    head = head_of(model, "small", "text")
    spec = model.bundle.tiers["small"]["text"]
    old = hashlib.blake2b(f"{spec.id}\0{spec.multi_vector.id}\0int8".encode(), digest_size=16).digest()
    assert head.key == old
    (tokens,) = model.token_vectors(["the cat"], tier="small")
    assert Reading(tokens.vectors).packed() == pack(tokens.vectors)
    assert Reading.of(pack(tokens.vectors), head, 512).base is None


def test_hits_of_all_languages_are_explained(model, notes, tmp_path):
    with unbraid.open_index(tmp_path / "ix", model=model) as index:
        index.add(notes, multi_vector=True, progress=False)
        hits = {Path(hit.path).name: hit for hit in index.search("the red dog", explain=True)}
        assert {pair.query for pair in hits["german.md"].why} == {"red", "dog"}
        assert {pair.query for pair in hits["english.md"].why} == {"red", "dog"}


@pytest.mark.parametrize("tier", ["nano", "none"])
def test_a_tier_without_multi_vectors_is_refused(model, tmp_path, tier):
    folder = tmp_path / "bundle"
    shutil.copytree(model.bundle.folder, folder)
    about = json.loads((folder / "bundle.json").read_text())
    about["look_tier"] = tier
    about["sha256"] = manifest_hash(about)
    (folder / "bundle.json").write_text(json.dumps(about))
    with pytest.raises(BundleError, match="look_tier"):
        unbraid.load(folder)


@pytest.mark.parametrize(
    "wrong", [{"look": 0}, {"look": -1}, {"look": 1e9}, {"look": float("nan")}, {"whole": -1}, {"whole": 1e9}]
)
def test_what_a_second_look_cannot_count_is_refused(model, tmp_path, wrong):
    folder = tmp_path / "bundle"
    shutil.copytree(model.bundle.folder, folder)
    about = json.loads((folder / "bundle.json").read_text())
    about["tiers"]["multi"]["text"]["multi_vector"] |= wrong
    about["sha256"] = manifest_hash(about)
    (folder / "bundle.json").write_text(json.dumps(about))
    with pytest.raises(BundleError, match="expected look over 0, whole from 0"):
        unbraid.load(folder)
