"""What a bundle keeps of a model, whatever its kind: dimensions, ids, int8, parity, prompts."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import unbraid
from tests.adopt.conftest import WIDTH, tiny_tokenizer
from unbraid.adopt import adopt, text_graphs
from unbraid.adopt.agreement import agreement
from unbraid.adopt.find_part import find_part, parted_layer
from unbraid.adopt.models import TextModel
from unbraid.adopt.projection import cost, fit_projection
from unbraid.adopt.prompt_names import NAMES, task_prompts
from unbraid.adopt.read_model import read_model
from unbraid.adopt.sentence_encoder import SentenceEncoder, StaticStage
from unbraid.bundle import TextSpec, text_entry
from unbraid.errors import AdoptError
from unbraid.export.onnx_graphs import export_unfused

TEXTS = ["the cat", "a house of stone and a tree", "return value", "x"]
SAMPLE = [
    f"{one} {other}"
    for one in "cat dog house car tree".split()
    for other in "the of and read write file".split()
]


@pytest.fixture(scope="module")
def adopted(published, tmp_path_factory):
    """The bundle of a tiny model. Tests must not change it."""
    out = tmp_path_factory.mktemp("adopted") / "bundle"
    adopt(published, out)
    return out


def test_a_bundle_loads_encodes_indexes_and_searches(adopted, tmp_path):
    model = unbraid.load(adopted, threads=1)
    assert (model.dim, model.bundle.dims) == (WIDTH, (WIDTH,))
    assert set(model.tasks) >= {"query", "document", "symmetric", "code"}
    (tmp_path / "docs").mkdir()
    for name in ("cat", "house", "river"):
        (tmp_path / "docs" / f"{name}.txt").write_text(f"the {name} {name} {name}")
    with unbraid.open_index(tmp_path / "index", model=model) as index:
        index.add([tmp_path / "docs"])
        assert index.search("house", min_score=0)[0].path.endswith("house.txt")


def test_the_card_says_where_it_comes_from(adopted):
    card = (adopted / "README.md").read_text()
    assert "tiny-mean" in card and "unknown" in card and "ten nearest" in card


def test_a_revision_of_a_model_has_its_own_base_id(published, copy_of, edit, adopted, tmp_path):
    def base_id(folder):
        adopt(folder, tmp_path / "out")
        return unbraid.load(tmp_path / "out").base_id

    first = unbraid.load(adopted).base_id
    assert base_id(published) == first
    folder = copy_of(published)
    pooling = folder / "1_Pooling" / "config.json"
    before = pooling.read_text()
    edit(pooling, pooling_mode="cls")
    assert base_id(folder) != first
    pooling.write_text(before)
    edit(folder / "sentence_bert_config.json", max_seq_length=32)
    assert base_id(folder) != first
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 64}')
    edit(folder / "config.json", layer_norm_eps=0.1)
    assert base_id(folder) != first
    edit(folder / "config.json", layer_norm_eps=1e-12)
    edit(folder / "config_sentence_transformers.json", prompts={"document": "a: "})
    assert base_id(folder) != first


@pytest.mark.parametrize("dim", [16, 48])
def test_fewer_dimensions_are_the_principal_ones(dim, published, tmp_path):
    made = adopt(published, tmp_path / "out", dim=dim)
    model = unbraid.load(tmp_path / "out", precision="fp32")
    assert made.dim == model.dim == dim
    assert made.cost and 0.5 < made.cost.energy <= 1
    original = unbraid_original(published)
    near = original(TEXTS, None)
    kept = model.encode(TEXTS)
    assert np.corrcoef((near @ near.T).ravel(), (kept @ kept.T).ravel())[0, 1] > 0.95


def unbraid_original(folder):
    return read_model(folder).text.original


def test_a_projection_keeps_what_lies_in_its_directions():
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((32, 8)))[0]
    vectors = rng.standard_normal((400, 8)) @ basis.T
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    matrix = fit_projection(vectors[:300], 8)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(8), atol=1e-5)
    paid = cost(matrix, vectors[300:])
    assert paid.energy > 0.9999 and paid.agreement == 1
    with pytest.raises(AdoptError, match="16"):
        fit_projection(vectors[:10], 8)


def test_int8_that_gives_no_number_is_not_offered(published, tmp_path, monkeypatch):
    original = text_graphs.TextRuntime.encode

    def encode(self, *args, **options):
        vectors = original(self, *args, **options)
        return vectors * np.nan if "int8" in next(iter(self.spec.graphs.values())) else vectors

    monkeypatch.setattr(text_graphs.TextRuntime, "encode", encode)
    made = adopt(published, tmp_path / "out")
    assert made.text.agreement is None and set(made.text.tried.values()) == {0.0}
    model = unbraid.load(tmp_path / "out")
    assert list(model.bundle.text["text"].graphs) == ["fp32"]
    assert not list((tmp_path / "out").glob("*int8*"))
    assert "int8 is not offered" in (tmp_path / "out" / "README.md").read_text()


def test_agreement_counts_the_same_neighbours(unit):
    vectors = unit(40, 16)
    assert agreement(vectors, vectors) == 1
    assert agreement(vectors, unit(40, 16, seed=1)) < 0.6
    assert agreement(vectors, vectors * np.nan) == 0


# -- where a graph parts from its model ----------------------------------------------------------------------------


class _Fixed(nn.Module):
    """Divides by a number that the exporter writes down as a constant."""

    def forward(self, features):
        vectors = features["sentence_embedding"]
        return features | {"sentence_embedding": vectors + float(vectors.mean().item()) * torch.arange(8.0)}


def static_text(stages, original=None, original_ids=None):
    table = torch.from_numpy(np.random.default_rng(0).standard_normal((120, 8)).astype(np.float32))
    encoder = SentenceEncoder([StaticStage(table), *stages]).eval()
    tokenizer = tiny_tokenizer().backend_tokenizer
    tokenizer.enable_truncation(64)

    def own(texts, prompt):
        with torch.inference_mode():
            return np.concatenate(
                [
                    encoder(*(torch.tensor([one]) for one in (e.ids, e.attention_mask))).numpy()
                    for e in tokenizer.encode_batch(texts)
                ]
            )

    return TextModel(encoder, tokenizer, 64, 8, {}, original or own, {}, original_ids)


@pytest.mark.filterwarnings("ignore")
def test_a_refusal_names_the_layer(tmp_path):
    text = static_text([_Fixed()])
    with pytest.raises(AdoptError, match=r"stages\.1 \(_Fixed\)"):
        text_graphs.write_text_graphs(text, "id", tmp_path, "text", "document", SAMPLE)
    assert not [one for one in tmp_path.iterdir() if "probe" in one.name or "plain" in one.name]


def test_a_refusal_names_the_modules(tmp_path):
    good = static_text([])
    text = static_text([], original=lambda texts, prompt: np.roll(good.original(texts, prompt), 1, axis=1))
    with pytest.raises(AdoptError, match="modules, as they were read"):
        text_graphs.write_text_graphs(text, "id", tmp_path, "text", "document", SAMPLE)


def test_a_refusal_names_the_tokenizer(tmp_path):
    good = static_text([])
    text = static_text(
        [],
        original=lambda texts, prompt: np.roll(good.original(texts, prompt), 1, axis=1),
        original_ids=lambda one: [2, 9, 3],
    )
    with pytest.raises(AdoptError, match=re.escape("tokenizer.json")):
        text_graphs.write_text_graphs(text, "id", tmp_path, "text", "document", SAMPLE)


def test_no_layer_is_named_where_none_parts(published, tmp_path):
    text = read_model(published).text
    graph = tmp_path / "plain.onnx"
    export_unfused(text.encoder, torch.zeros((2, 8), dtype=torch.long), "input_ids", graph)
    assert parted_layer(text.encoder, graph, text.tokenizer.encode("the cat").ids) is None
    with torch.no_grad():  # the graph keeps the old weights
        text.encoder.stages[0].model.encoder.layer[1].output.dense.weight.mul_(1.5)
    found = find_part(
        text,
        "",
        graph,
        ["the cat"],
        text.encoder(*[torch.tensor([one]) for one in ([2, 5, 3], [1, 1, 1])]).numpy(),
    )
    assert "differ" in found
    assert "layer.1.output.dense" in parted_layer(text.encoder, graph, text.tokenizer.encode("the cat").ids)


# -- model2vec -----------------------------------------------------------------------------------------------------


def static_model(**options):
    from model2vec import StaticModel

    tokenizer = tiny_tokenizer().backend_tokenizer
    pieces = tokenizer.get_vocab_size()
    rng = np.random.default_rng(0)
    mapped = {"token_mapping": rng.integers(0, 40, pieces), "weights": rng.random(pieces).astype(np.float32)}
    if not options.pop("mapped", False):
        mapped = {}
    rows = 40 if mapped else pieces
    vectors = rng.standard_normal((rows, 24)).astype(options.pop("dtype", np.float32))
    return StaticModel(vectors, tokenizer, **mapped, **options)


@pytest.mark.parametrize("options", [{}, {"mapped": True}, {"normalize": True}, {"dtype": np.float16}])
def test_a_model2vec_folder(options, tmp_path):
    model = static_model(**options)
    model.save_pretrained(tmp_path / "static")
    adopt(tmp_path / "static", tmp_path / "out")
    found = unbraid.load(tmp_path / "out", precision="fp32").encode([*TEXTS, "the ☃ cat"])
    expected = model.encode([*TEXTS, "the ☃ cat"]).astype(np.float32)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-3 if "dtype" in options else 1e-5)


# -- prompts -------------------------------------------------------------------------------------------------------


def test_prompts_by_the_names_that_models_give_them(tmp_path):
    prompts = {"Query": "q: ", "passage": "p: ", "STS": "", "InstructionCode": "c: "}
    assert task_prompts(tmp_path, prompts, None, {}) == {"query": "q: ", "document": "p: ", "code": "c: "}


def test_a_default_prompt_is_that_of_symmetric(tmp_path):
    assert task_prompts(tmp_path, {"general": "g: "}, "general", {}) == {"symmetric": "g: "}


def test_a_chosen_prompt_goes_before(tmp_path):
    prompts = {"query": "q: ", "web": "w: ", "clustering": "c: "}
    assert task_prompts(tmp_path, prompts, None, {"query": "web"}) == {"query": "w: "}


@given(st.dictionaries(st.text(max_size=12), st.text(max_size=5), max_size=5))
def test_every_name_is_known_or_refused(prompts):
    from pathlib import Path

    known = {name for names in NAMES.values() for name in names}
    if all(name.lower() in known for name in prompts):
        task_prompts(Path("x"), prompts, None, {})
    else:
        with pytest.raises(AdoptError):
            task_prompts(Path("x"), prompts, None, {})


def test_the_command_line_prints_what_is_kept(published, tmp_path):
    from typer.testing import CliRunner

    from unbraid.cli.main import app

    result = CliRunner().invoke(app, ["adopt", str(published), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert (
        "ten nearest" in result.output and "the starter" in result.output and "docstrings/s" in result.output
    )
    assert json.loads((tmp_path / "out" / "parity.json").read_text())


def test_a_prompt_is_named_only_where_a_model_has_prompts(bert, tmp_path):
    with pytest.raises(AdoptError, match="--prompt names a prompt"):
        adopt(bert, tmp_path / "out", pooling="mean", prompts={"query": "zzz"})


def test_bundles_with_a_prefix_are_refused_by_versions_that_know_none():
    spec = TextSpec("i", {"fp32": "g.onnx"}, "t.json", 64, False, prefix="query: ")
    assert "tokenizer" not in text_entry(spec) and "prefix" not in text_entry(spec)
    assert text_entry(spec)["reading"] == {"tokenizer": "t.json", "prefix": "query: "}
    assert text_entry(replace(spec, prefix=""))["tokenizer"] == "t.json"
