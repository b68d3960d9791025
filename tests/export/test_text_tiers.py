"""Several transformer tiers in one bundle: what they share, and that a chain of graphs is the encoder."""

import json

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

import unbraid
from unbraid.base_encoders.text_encoder import load_text_encoder
from unbraid.bundle import read_bundle

TEXTS = ["the cat sat on a mat", "def f(x): return x", "moon", "a river of code " * 8]


@pytest.fixture(scope="module")
def tiers(tiered):
    return read_bundle(tiered.bundle).tiers


def test_tiers_with_equal_embeddings_share_a_token_graph_and_a_tokenizer(tiers):
    small, base, multi = (tiers[name]["text"] for name in ("small", "base", "multi"))
    assert small.token_graphs == base.token_graphs == {one: f"tokens.{one}.onnx" for one in ("int8", "fp32")}
    assert small.tokenizer == base.tokenizer == "tokenizer.json"
    assert small.graphs["int8"] == "text.int8.onnx" and base.graphs["int8"] == "base.int8.onnx"
    assert multi.token_graphs == {} and multi.tokenizer == "multi.tokenizer.json"


def test_every_tier_says_what_languages_it_was_trained_on(tiers):
    assert tiers["base"]["text"].languages == ("en",)
    assert tiers["multi"]["text"].languages == ("de", "en", "ru")  # not the one with few items


def test_a_tier_that_reads_code_unsplit_says_so_and_has_one_id(tiers):
    assert tiers["base"]["code"].split_identifiers and not tiers["multi"]["code"].split_identifiers
    assert tiers["multi"]["code"].id == tiers["multi"]["text"].id
    assert tiers["base"]["code"].id == f"{tiers['base']['text'].id}-split"


@pytest.mark.parametrize("tier", ["small", "base", "multi"])
def test_a_tier_gives_the_vectors_of_its_torch_encoder(tiered, tier):
    model = unbraid.load(tiered.bundle, tier=tier, precision="fp32", threads=1)
    encoder = load_text_encoder(tiered.run / tier).eval()
    tokenizer = Tokenizer.from_file(str(tiered.run / tier / "tokenizer.json"))
    with torch.no_grad():
        expected = torch.cat(
            [
                encoder(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.long))
                for ids in (tokenizer.encode(text).ids for text in TEXTS)
            ]
        )
    np.testing.assert_allclose(
        model.encode(TEXTS, modality="text", on_truncate="ignore"), expected.numpy(), atol=1e-5
    )


def test_int8_of_the_chain_is_near(tiered):
    exact, rounded = (
        unbraid.load(tiered.bundle, tier="base", precision=one, threads=1) for one in ("fp32", "int8")
    )
    cosines = (exact.encode(TEXTS, on_truncate="ignore") * rounded.encode(TEXTS, on_truncate="ignore")).sum(1)
    assert cosines.min() > 0.97


def test_batches_of_a_chain_keep_their_order(tiered):
    model = unbraid.load(tiered.bundle, tier="base", precision="fp32", threads=2)
    together = model.encode(TEXTS * 3, on_truncate="ignore")
    np.testing.assert_allclose(together[: len(TEXTS)], together[-len(TEXTS) :], atol=1e-6)


def test_parity_of_every_graph_is_written(tiered):
    graphs = {one["graph"] for one in json.loads((tiered.bundle / "parity.json").read_text())}
    assert {"tokens.int8.onnx", "base.int8.onnx", "multi.fp32.onnx", "text.fp32.onnx"} <= graphs


def test_default_tiers_are_those_of_the_recipe(tiered, bundle_folder):
    bundle, plain = read_bundle(tiered.bundle), read_bundle(bundle_folder)
    assert (bundle.document_tier, bundle.query_tier) == ("small", "base")
    assert (plain.document_tier, plain.query_tier) == ("small", "small")


def test_tiers_of_one_model_share_the_open_token_graph(tiered):
    model = unbraid.load(tiered.bundle, threads=1)
    small, base = (model._text_runtime("text", tier) for tier in ("small", "base"))
    assert small.tokens is base.tokens is not None
