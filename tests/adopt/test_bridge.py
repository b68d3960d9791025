"""A model as a tier of a copy of the starter; a random BERT, which the bridge cannot help, stands for any."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import unbraid
from unbraid.adopt import bridge
from unbraid.adopt.bridge import question_of, tier_name, write_bridged
from unbraid.adopt.read_model import read_model
from unbraid.bundle import STARTER
from unbraid.errors import AdoptError

NOUNS = "cat dog house river moon model code vector search red green".split()
SAMPLE = [
    f"The {NOUNS[n % 11]} number {n} is bright. It was found in a {NOUNS[n % 7]} of the {NOUNS[n % 5]}."
    for n in range(120)
]


@pytest.fixture(scope="module")
def model(tiny_bert):
    return replace(read_model(tiny_bert, pooling="mean"), name="My Model_v2")


@pytest.fixture(scope="module")
def made(model, tmp_path_factory):
    out = tmp_path_factory.mktemp("bridged") / "bundle"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bridge, "LEAST_KEPT", -1.0)
        patch.setattr(bridge, "WORDS", 30)
        with_tower = replace(model, image=object())  # which a bridge leaves out
        return out, write_bridged(with_tower, out, SAMPLE, "a few sentences")


def test_the_bundle_is_the_starter_with_one_more_tier(made):
    out, about = made
    starter, found = unbraid.load(), unbraid.load(out)
    assert found.base_id == starter.base_id
    assert found.bundle.id != starter.bundle.id
    assert set(found.bundle.tiers) - set(starter.bundle.tiers) == {about.tier} == {"my-model-v2"}
    assert (found.tier, found.query_tier) == (about.tier, about.tier)
    for name in json.loads((STARTER / "bundle.json").read_text())["files"]:
        if name not in ("README.md", "parity.json"):
            assert (out / name).read_bytes() == (STARTER / name).read_bytes()


def test_its_vectors_are_the_models_own_through_the_map(made, model):
    out, _ = made
    texts = ["the cat was in the house", "a red moon"]
    found = unbraid.load(out, precision="fp32").encode(texts)
    assert found.shape == (2, unbraid.load().dim)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    own = model.text.original(texts, None)
    assert found[0] @ found[1] != pytest.approx(float(own[0] @ own[1]), abs=1e-3)


def test_pictures_and_other_tiers_are_the_starters(made):
    out, _ = made
    starter, found = unbraid.load(), unbraid.load(out)
    picture = Image.new("RGB", (40, 30), (200, 30, 30))
    np.testing.assert_array_equal(found.encode([picture]), starter.encode([picture]))
    np.testing.assert_array_equal(found.encode(["a cat"], tier="base"), starter.encode(["a cat"]))
    assert (
        found.encode(["Das ist ein deutscher Satz über eine Katze."]).tolist()
        == starter.encode(["Das ist ein deutscher Satz über eine Katze."]).tolist()
    )


def test_a_tower_that_is_left_out_is_said(made):
    out, about = made
    assert any("starter's tower" in note for note in about.notes)
    assert "starter's tower" in (out / "README.md").read_text()


def test_the_command_says_what_it_keeps(tiny_bert, tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from unbraid.cli.main import app

    monkeypatch.setattr(bridge, "LEAST_KEPT", -1.0)
    monkeypatch.setattr(bridge, "WORDS", 30)
    monkeypatch.setattr("unbraid.adopt.larger_sample.BRIDGE_TEXTS", 100)
    (tmp_path / "texts.txt").write_text("\n".join(SAMPLE))
    words = [
        "adopt",
        str(tiny_bert),
        "--pooling",
        "mean",
        "--bridge",
        "starter",
        "--out",
        str(tmp_path / "out"),
    ]
    result = CliRunner().invoke(app, [*words, "--sample", str(tmp_path / "texts.txt")])
    assert result.exit_code == 0, result.output
    assert "of texts.txt" in result.stdout and "recall@10" in result.stdout
    assert unbraid.load(tmp_path / "out").base_id == unbraid.load().base_id


def test_a_bridge_has_the_dimensions_of_the_starter(tiny_bert, tmp_path):
    from typer.testing import CliRunner

    from unbraid.cli.main import app

    words = ["adopt", str(tiny_bert), "--bridge", "starter", "--dim", "64", "--out", str(tmp_path / "out")]
    assert CliRunner().invoke(app, words).exit_code == 2


def test_an_index_of_the_starter_is_searched_by_the_bridged_tier(made, tmp_path):
    out, _ = made
    (tmp_path / "notes.txt").write_text("The moon is bright over the river.")
    with unbraid.open_index(tmp_path / "index") as index:
        index.add([tmp_path / "notes.txt"])
    with unbraid.open_index(tmp_path / "index", model=unbraid.load(out)) as index:
        assert index.search("the moon over the river")[0].path.endswith("notes.txt")


def test_what_it_was_fitted_on_and_what_it_keeps_is_said(made):
    out, about = made
    said = json.loads((out / "bundle.json").read_text())["scores"]["bridge"]
    assert said["of"] == "a few sentences"
    assert set(said["recall at 10"]) == {
        "texts",
        "starter",
        "model",
        "bridged",
        "model_asks",
        "starter_asks",
    }
    card = (out / "README.md").read_text()
    assert "a few sentences" in card and "| questions by | texts by | recall@10 |" in card
    assert about.recall.starter > 0.5


def test_a_model_that_stays_outside_the_space_is_refused_with_what_it_finds(model, tmp_path, monkeypatch):
    monkeypatch.setattr(bridge, "WORDS", 30)
    monkeypatch.setattr(bridge, "LEAST_KEPT", 1.01)
    with pytest.raises(AdoptError, match="recall@10"):
        write_bridged(model, tmp_path / "out", SAMPLE, "a few sentences")
    assert not (tmp_path / "out").exists()


def test_a_sample_without_sentences_is_refused(model, tmp_path, monkeypatch):
    monkeypatch.setattr(bridge, "WORDS", 30)
    with pytest.raises(AdoptError, match="two sentences"):
        write_bridged(model, tmp_path / "out", ["word"] * 100, "words")


@pytest.mark.parametrize(
    ("name", "tier"),
    [
        ("all-MiniLM-L6-v2", "all-minilm-l6-v2"),
        ("Ä/b c", "b-c"),
        ("multi", "multi-model"),
        ("tokens", "tokens-model"),
        ("!", "model"),
    ],
)
def test_a_tier_has_a_plain_name_of_its_own(name, tier):
    assert tier_name(name, {"small", "multi", "tokens"}) == tier


@given(st.text(max_size=300))
def test_a_question_and_its_text_are_parts_of_one_text(text):
    if found := question_of(text):
        question, rest = found
        assert text.startswith(question) and text.endswith(rest)


def test_a_question_is_the_first_sentence_or_line():
    assert question_of("Return the name of it. It is never empty at all.") == (
        "Return the name of it.",
        "It is never empty at all.",
    )
    assert question_of("Return the name\nof what is never empty") == (
        "Return the name",
        "of what is never empty",
    )
    assert question_of("One sentence only, which has no rest") is None
