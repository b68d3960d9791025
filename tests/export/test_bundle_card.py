import json
from pathlib import Path

import pytest

from unbraid.distill.recipe import read_recipe
from unbraid.export.bundle_card import card
from unbraid.export.parity import Parity
from unbraid.training.record import recipe_table

SIZES = {"nano.int8.onnx": 8_460_000, "text.int8.onnx": 16_040_000}
PARITY = Parity("text.fp32.onnx", 40, 2.1e-7, 1.0, 0.99999)


@pytest.fixture
def about():
    return {
        "name": "starter",
        "version": "0.1.0",
        "id": "b" * 16,
        "base_id": "a" * 16,
        "dim": 512,
        "modalities": {
            "text": {"max_tokens": 256, "graphs": {"int8": "a"}},
            "code": {"max_tokens": 256, "graphs": {"int8": "a"}},
        },
        "mappers": {"query": {}, "document": {}},
        "licences": {"all-MiniLM-L6-v2 (backbone and teacher)": "Apache-2.0", "text/a.jsonl.gz": "CC BY 4.0"},
        "scores": {},
    }


@pytest.fixture
def record():
    recipe = json.loads(json.dumps(recipe_table(read_recipe(Path("starter")))))
    results = {"items": 212_992, "energy kept by base": 0.99651}
    return {"recipe": recipe, "commit": "abc1234", "results": results}


def test_a_card_opens_with_name_version_and_what_it_encodes(about, record, tmp_path):
    head = card(about, record["recipe"], record, [PARITY], tmp_path, SIZES).split("```")[0]
    assert head.startswith("# starter 0.1.0\n")
    assert "text, code" in head and "query, document" in head and "512-d" in head


def test_a_card_lists_every_licence(about, record, tmp_path):
    licences = card(about, record["recipe"], record, [PARITY], tmp_path, SIZES).split("## Data and licences")[
        1
    ]
    for name, licence in about["licences"].items():
        assert f"- {name}: {licence}" in licences


def test_a_card_states_the_limits(about, record, tmp_path):
    limits = (
        card(about, record["recipe"], record, [PARITY], tmp_path, SIZES)
        .split("## Limits")[1]
        .split("\n## ")[0]
    )
    for word in ("256 word pieces", "teacher", "jina-embeddings-v4", "textbook", "slants"):
        assert word in limits


def test_a_card_says_how_the_bundle_was_made(about, record, tmp_path):
    making = (
        card(about, record["recipe"], record, [PARITY], tmp_path, SIZES)
        .split("## How it was made")[1]
        .split("\n## ")[0]
    )
    assert "212,992 items" in making and "99.65% of" in making
    assert "Teacher: 1 e5 + 1 mpnet + 0.8 minilm" in making
    assert "Tier base of text and code: all layers of minilm" in making and "Tier multi" in making
    for mode in ("retrieval", "symmetric", "code"):
        assert f"- Mapper {mode}: " in making


def test_a_card_names_the_layers_that_a_student_keeps(about, record, tmp_path):
    small = {
        **record["recipe"]["text"]["small"],
        "layers": [0, 2, 5],
        "feed_forward": 1024,
        "pooled_layers": 3,
    }
    made = card(about, {**record["recipe"], "text": {"small": small}}, record, [PARITY], tmp_path, SIZES)
    assert "layers [0, 2, 5] of minilm, 1,024 neurons in each, the mean hidden states of the last 3" in made


def test_a_card_names_the_languages_of_each_tier(about, record, tmp_path):
    text = {**about["modalities"]["text"], "languages": ["en"]}
    tiers = {"base": {"text": text}, "multi": {"text": {**text, "languages": ["de", "en"]}}}
    told = about | {"modalities": {**about["modalities"], "text": text}, "tiers": tiers}
    limits = card(told, record["recipe"], record, [PARITY], tmp_path, SIZES).split("## Limits")[1]
    assert "Trained languages of small, base: en." in limits and "of multi: de, en." in limits


def test_a_card_speaks_of_pictures_only_where_a_tower_was_trained(about, record, tmp_path):
    assert "- Image: " not in card(about, record["recipe"], record, [PARITY], tmp_path, SIZES)
    (tmp_path / "image").mkdir()
    (tmp_path / "image" / "record.json").write_text("{}")
    assert "- Image: timm:tf_efficientnet_lite0.in1k at 224 px from published weights" in card(
        about, record["recipe"], record, [PARITY], tmp_path, SIZES
    )
    assert "then 2,400 steps on 24,000 drawings of 8 kinds" in card(
        about, record["recipe"], record, [PARITY], tmp_path, SIZES
    )


def test_a_card_has_the_parity_of_every_graph(about, record, tmp_path):
    text = card(
        about,
        record["recipe"],
        record,
        [PARITY, Parity("query.mapper.int8.onnx", 2, 0.01, 0.9991, 0.998)],
        tmp_path,
        SIZES,
    )
    assert "| text.fp32.onnx | 40 | 2.1e-07 | 1.00000 | 0.99999 |" in text
    assert "| query.mapper.int8.onnx | 2 | 1.0e-02 | 0.99910 | 0.99800 |" in text


def test_a_card_without_scores_says_so(about, record, tmp_path):
    assert "Not measured yet: `unbraid evaluate" in card(
        about, record["recipe"], record, [PARITY], tmp_path, SIZES
    )


def test_a_card_shows_score_tables_with_the_commands_that_made_them(about, record, tmp_path):
    about["scores"] = {"tables": {"unbraid evaluate starter nfcorpus": "| set | nDCG@10 |\n| --- | --- |"}}
    scores = (
        card(about, record["recipe"], record, [PARITY], tmp_path, SIZES)
        .split("## Scores")[1]
        .split("\n## ")[0]
    )
    assert "| set | nDCG@10 |" in scores and "`unbraid evaluate starter nfcorpus`" in scores
    assert "Not measured yet" not in scores


def test_a_card_names_base_space_bundle_and_commit(about, record, tmp_path):
    assert f"Base space `{'a' * 16}`, bundle `{'b' * 16}`, unbraid commit `abc1234`" in card(
        about, record["recipe"], record, [PARITY], tmp_path, SIZES
    )


def test_the_bundles_readme_is_its_card(bundle_folder):
    about = json.loads((bundle_folder / "bundle.json").read_text())
    text = (bundle_folder / "README.md").read_text()
    assert text.startswith(f"# {about['name']} {about['version']}\n")
    assert all(f"- {name}: {licence}" in text for name, licence in about["licences"].items())


def test_a_card_lists_the_files_and_their_sum(about, record, tmp_path):
    files = card(about, record["recipe"], record, [PARITY], tmp_path, SIZES).split("## Files")[1]
    for line in ("| nano.int8.onnx | 8.5 |", "| text.int8.onnx | 16.0 |", "| all of them | 24.5 |"):
        assert line in files
