"""An index that stores the token vectors of one tier, whatever tier encodes its passages."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unbraid
from unbraid.base_encoders.multi_vector_head import HEAD_FOLDER, MultiVectorHead
from unbraid.bundle import manifest_hash
from unbraid.distill.recipe import HeadTraining, Look, Recipe
from unbraid.errors import BundleError
from unbraid.export import export_heads
from unbraid.index.search.document_tokens import Reading, head_of, read_passages, stored_by
from unbraid.index.search.second_look import Rerank, changes, gains, query_head, second_looks
from unbraid.index.search.token_cache import FILE, TokenCache
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
    (one,) = second_looks(model, ["the dog"], 0.5, Rerank(), TokenCache(None), "multi")
    assert one is not None and one.head.tier == "multi"
    with unbraid.open_index(tmp_path / "ix", model=model) as index:
        index.add(notes, multi_vector=True, progress=False)
        entries = [one for some, _, _ in index.store.items() for one in some]
    rows = list(range(len(entries)))
    found = one.again(np.zeros(len(rows)), rows, lambda ids: [entries[n] for n in ids])
    read = read_passages(model, [index_passage(model, each) for each in entries], TokenCache(None))
    expected = changes(maxsim(one.query, [each.tokens for each in read]), 1.5)
    # Only the English one has base vectors of another tier: alone, it is the mean of the best, and gains nothing by them.
    assert found == pytest.approx(expected)
    again = gains(one.query, read, np.ones(len(read), bool), 1.5, 1.0)
    assert again == pytest.approx(
        expected + changes(np.asarray([each.base @ unit(one.query.base) for each in read]), 1.0)
    )


def unit(vector: Any) -> Any:
    return vector / np.linalg.norm(vector)


def test_what_is_read_is_what_the_tier_gives(model):
    texts = [ENGLISH, GERMAN]
    exact = model.token_vectors(texts, tier="multi", on_truncate="ignore")
    base = model.encode(texts, tier="multi", on_truncate="ignore")
    for one, whole in zip(exact, base, strict=True):
        assert (one.base == whole).all()
        read = Reading(one.vectors, unit(one.base))
        again = Reading.of(read.packed(), 16, len(whole))
        assert (
            np.einsum("td,td->t", read.tokens, again.tokens) > 0.98
        ).all() and read.base @ again.base > 0.98


def index_passage(model: Any, entry: Any) -> Any:
    from unbraid.index.search.document_tokens import Passage

    return Passage.of(model, entry, "multi")


def test_what_is_encoded_when_it_is_needed_is_read_by_the_tier_of_each_passage(model, notes, tmp_path):
    with unbraid.open_index(tmp_path / "ix", model=model) as index:
        index.add(notes, progress=False)
        assert index.reader is None and not (tmp_path / "ix" / FILE).exists()
        assert query_head(model, ENGLISH) == head_of(model, model.bundle.document_tier, "text")


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
