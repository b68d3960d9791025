"""A bundle as a folder of sentence-transformers: the same vectors, by its own modules alone."""

import json
import os
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from unbraid.bundle import read_bundle
from unbraid.embedder import Embedder
from unbraid.errors import BundleError, DataError
from unbraid.runtime.code_text import split_identifiers
from unbraid.stock_modules import export_stock_folder
from unbraid.stock_modules.bert_weights import bert_parts
from unbraid.stock_modules.encoder_modules import _tokenizer

TEXTS = [
    "a red house",
    "the cat is in the house and the dog was by the river of bright green moon " * 3,
    "x",
    "def returnSelf(catHouse): [CLS]",
    "Ünïcode, 数字 42!",
]


@pytest.fixture(scope="session")
def stock(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stock") / "folder"
    return folder, export_stock_folder(read_bundle(tiny.bundle), folder)


@pytest.fixture(scope="session")
def model(stock):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(stock[0]), device="cpu", local_files_only=True)


@pytest.fixture(scope="session")
def exact(tiny):
    return Embedder(read_bundle(tiny.bundle), precision="fp32")


def own(embedder, task, modality="text", tier=None):
    return embedder.encode(TEXTS, task=task, modality=modality, tier=tier, on_truncate="ignore")


def test_says_what_was_written(stock):
    _, written = stock
    assert set(written.tasks) == {"base", "query", "document", "symmetric", "code", "code-query"}
    assert written.largest_difference < 1e-5
    assert not written.rounded
    assert 0.99 < written.least_cosine <= written.mean_cosine < 1
    assert written.left_out == ("image",)


@pytest.mark.parametrize(
    ("name", "task", "modality"),
    [
        ("base", None, "text"),
        ("document", "document", "text"),
        ("query", "query", "text"),
        ("symmetric", "symmetric", "text"),
        ("code", "code", "code"),
        ("code-query", "code", "text"),
    ],
)
def test_every_task_gives_the_vectors_of_the_bundle(model, exact, name, task, modality):
    assert np.abs(model.encode(TEXTS, task=name) - own(exact, task, modality)).max() < 1e-4


def test_the_usual_calls_take_the_right_task(model, exact):
    assert np.abs(model.encode_query(TEXTS) - own(exact, "query")).max() < 1e-4
    assert np.abs(model.encode_document(TEXTS) - own(exact, "document")).max() < 1e-4
    assert np.abs(model.encode(TEXTS) - own(exact, "document")).max() < 1e-4
    assert np.abs(own(exact, "query") - own(exact, "document")).max() > 1e-2


def test_settings_are_the_bundles(model, exact):
    assert model.max_seq_length == exact.bundle.text["text"].max_tokens
    assert model.similarity_fn_name == "cosine"
    assert model.get_embedding_dimension() == exact.dim


def test_only_safetensors_and_modules_of_the_library(stock):
    folder, _ = stock
    files = [name for _, _, names in os.walk(folder) for name in names]
    assert not [name for name in files if name.endswith((".bin", ".py", ".onnx", ".pt"))]
    assert [name for name in files if name.endswith(".safetensors")]
    kinds = [one["type"] for one in json.loads((folder / "modules.json").read_text())]
    for path in folder.rglob("router_config.json"):
        kinds += json.loads(path.read_text())["types"].values()
    assert all(kind.startswith("sentence_transformers.") for kind in kinds)


def test_the_card_names_licences_and_the_base(stock, exact):
    card = (stock[0] / "README.md").read_text()
    assert exact.base_id in card
    assert all(name in card for name in exact.bundle.licences)


def test_another_export_replaces_it_and_a_foreign_folder_is_refused(tiny, tmp_path):
    bundle = read_bundle(tiny.bundle)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "modules.json").write_text("[]")
    (tmp_path / "mine" / "README.md").write_text("# My own model")
    with pytest.raises(DataError, match="not written by"):
        export_stock_folder(bundle, tmp_path / "mine", tier="nano")
    export_stock_folder(bundle, tmp_path / "new", tier="nano")
    (tmp_path / "new" / "old.txt").write_text("")
    export_stock_folder(bundle, tmp_path / "new", tier="nano")
    assert not (tmp_path / "new" / "old.txt").exists()


def test_a_static_tier_is_a_static_embedding(tiny, exact, tmp_path):
    from sentence_transformers import SentenceTransformer

    written = export_stock_folder(read_bundle(tiny.bundle), tmp_path / "nano", tier="nano")
    model = SentenceTransformer(str(tmp_path / "nano"), device="cpu", local_files_only=True)
    assert written.largest_difference < 1e-5
    assert "StaticEmbedding" in repr(model)
    plain = [text for text in TEXTS if "[CLS]" not in text]  # words of the tokenizer's own are read as text
    found = model.encode_query(plain)
    expected = exact.encode(plain, task="query", tier="nano", on_truncate="ignore")
    assert np.abs(found - expected).max() < 1e-4


def test_int8_weights_give_vectors_near_the_bundle(tiny, tmp_path):
    bundle = read_bundle(tiny.bundle)
    int8 = {
        tier: {name: replace(spec, graphs={"int8": spec.graphs["int8"]}) for name, spec in specs.items()}
        for tier, specs in bundle.tiers.items()
    }
    written = export_stock_folder(replace(bundle, tiers=int8), tmp_path / "int8")
    assert written.rounded
    assert written.largest_difference < 1e-5
    assert written.least_cosine > 0.98
    assert "near the bundle's" in (tmp_path / "int8" / "README.md").read_text()


def test_documents_and_queries_keep_their_tiers(tiered, tmp_path):
    from sentence_transformers import SentenceTransformer

    bundle = read_bundle(tiered.bundle)
    assert (bundle.document_tier, bundle.query_tier) == ("small", "base")
    export_stock_folder(bundle, tmp_path / "two")
    model = SentenceTransformer(str(tmp_path / "two"), device="cpu", local_files_only=True)
    exact = Embedder(bundle, precision="fp32")
    assert np.abs(model.encode_query(TEXTS) - own(exact, "query", tier="base")).max() < 1e-4
    assert np.abs(model.encode_document(TEXTS) - own(exact, "document", tier="small")).max() < 1e-4


def test_prompts_of_tiers_are_prompts_there(tiny, tmp_path):
    from sentence_transformers import SentenceTransformer

    bundle = read_bundle(tiny.bundle)
    small = {name: replace(spec, prefix="the cat: ") for name, spec in bundle.text.items()}
    bundle = replace(bundle, tiers={**bundle.tiers, "small": small})
    export_stock_folder(bundle, tmp_path / "prompts")
    model = SentenceTransformer(str(tmp_path / "prompts"), device="cpu", local_files_only=True)
    exact = Embedder(bundle, precision="fp32")
    for found, task in (
        (model.encode_query(TEXTS), "query"),
        (model.encode_document(TEXTS), "document"),
        (model.encode(TEXTS, task="symmetric"), "symmetric"),
    ):
        assert np.abs(found - own(exact, task)).max() < 1e-4


def test_the_tokenizer_splits_names_as_the_runtime_does(tiny):
    spec = read_bundle(tiny.bundle).text["code"]
    split = _tokenizer(tiny.bundle, spec)
    whole = _tokenizer(tiny.bundle, replace(spec, split_identifiers=False))
    for text in ["parseHTMLPage", "getX2YFoo", "ABCd", "", "aBC_dE", "éXy ÀB aÀ", "a\nBcD"]:
        assert split.encode(text).ids == whole.encode(split_identifiers(text)).ids, text


def test_a_graph_that_is_no_bert_is_refused(tmp_path):
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node],
        "g",
        [value("x", onnx.TensorProto.FLOAT, [None, 2])],
        [value("y", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.eye(2, dtype=np.float32), "w")],
    )
    with pytest.raises(DataError, match="mine/text.onnx: not the graph of a BERT"):
        bert_parts(onnx.helper.make_model(graph), None, "mine/text.onnx")


def test_no_texts_an_unknown_tier_and_a_gated_mapper_are_refused(tiny, tmp_path):
    bundle = read_bundle(tiny.bundle)
    with pytest.raises(BundleError, match="no tier 'huge'"):
        export_stock_folder(bundle, tmp_path / "a", tier="huge")
    gated = {task: replace(spec, kind="gated") for task, spec in bundle.mappers.items()}
    with pytest.raises(DataError, match="mapper code is gated"):
        export_stock_folder(replace(bundle, mappers=gated), tmp_path / "c")
    with pytest.raises(BundleError, match="encodes no texts"):
        export_stock_folder(replace(bundle, tiers={"small": {}, "nano": {}}), tmp_path / "b")
