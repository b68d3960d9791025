"""Every stock module of sentence-transformers gives in a bundle what it gives in its own library."""

import numpy as np
import pytest
import torch
from torch import nn

import unbraid
from tests.adopt.conftest import WIDTH
from unbraid.adopt import adopt
from unbraid.vectors import normalize

TEXTS = ["the cat", "a house of stone and a tree", "return value", "x", "read the file " * 30, ""]


def check(folder, out, **options):
    """Adopt `folder`; its exact vectors are those of sentence-transformers. Returns the embedder."""
    from sentence_transformers import SentenceTransformer

    made = adopt(folder, out, **options)
    model = unbraid.load(out, threads=1, precision="fp32")
    original = SentenceTransformer(str(folder), device="cpu")
    for task, encode in (("document", original.encode_document), ("query", original.encode_query)):
        if task == "query" and model.query_tier == model.tier:
            continue
        expected = normalize(np.asarray(encode(TEXTS)))
        np.testing.assert_allclose(model.encode(TEXTS, task=task, on_truncate="ignore"), expected, atol=1e-4)
    assert made.dim == model.dim
    return model


@pytest.mark.parametrize(
    "mode", ["mean", "cls", "max", "lasttoken", "weightedmean", "mean_sqrt_len_tokens", ("cls", "mean")]
)
def test_every_pooling(mode, transformer, save, tmp_path):
    from sentence_transformers.sentence_transformer.modules import Pooling

    model = check(save(transformer(), Pooling(WIDTH, mode)), tmp_path / "out")
    assert model.dim == (2 * WIDTH if isinstance(mode, tuple) else WIDTH)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("out", [WIDTH, 24])
def test_dense_with_an_activation_layer_norm_and_normalize(residual, out, transformer, save, tmp_path):
    from sentence_transformers.sentence_transformer.modules import Dense, LayerNorm, Normalize, Pooling

    torch.manual_seed(1)
    dense = Dense(WIDTH, out, activation_function=nn.Tanh(), use_residual=residual)
    folder = save(transformer(), Pooling(WIDTH, "mean"), dense, LayerNorm(out), Normalize())
    assert check(folder, tmp_path / "out").dim == out


def static_embedding(seed=0):
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    from tests.adopt.conftest import tiny_tokenizer

    tokenizer = tiny_tokenizer()
    weights = np.random.default_rng(seed).standard_normal((len(tokenizer), 48)).astype(np.float32)
    return StaticEmbedding(tokenizer, embedding_weights=weights)


def test_a_static_embedding_keeps_its_neighbours_in_int8(save, tmp_path):
    model = check(save(static_embedding()), tmp_path / "out")
    assert tuple(model.bundle.text["text"].graphs) == ("int8", "fp32")
    rounded = unbraid.load(tmp_path / "out", precision="int8")
    texts = [one for one in TEXTS if one]
    assert (rounded.encode(texts) * model.encode(texts)).sum(1).min() > 0.999


def test_a_router_sends_queries_to_their_own_encoder(transformer, save, tmp_path):
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Router

    torch.manual_seed(2)
    router = Router.for_query_document(
        query_modules=[static_embedding()],
        document_modules=[transformer(), Pooling(WIDTH, "mean"), Dense(WIDTH, 48)],
    )
    model = check(save(router, Normalize()), tmp_path / "out")
    assert model.query_tier == "query" and model.tier == "small"


def test_prompts_are_put_before_a_text(transformer, save, tmp_path):
    from sentence_transformers.sentence_transformer.modules import Pooling

    folder = save(
        transformer(), Pooling(WIDTH, "mean"), prompts={"document": "text: ", "query": "the query: "}
    )
    model = check(folder, tmp_path / "out")
    assert model.bundle.text["text"].prefix == "text: "


def test_a_pooling_that_leaves_the_prompt_out(transformer, save, tmp_path):
    from sentence_transformers.sentence_transformer.modules import Pooling

    pooling = Pooling(WIDTH, "mean", include_prompt=False)
    folder = save(transformer(), pooling, prompts={"document": "the file of ", "query": "a "})
    assert check(folder, tmp_path / "out").query_tier == "query"


def test_lower_case_that_only_the_settings_ask_for(bert, save, tmp_path):
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    first = Transformer(str(bert), do_lower_case=True)
    check(save(first, Pooling(WIDTH, "mean")), tmp_path / "out")


def test_a_cut_that_the_model_makes_itself(transformer, save, tmp_path):
    from sentence_transformers.sentence_transformer.modules import Pooling

    folder = save(transformer(), Pooling(WIDTH, "mean"), truncate_dim=32)
    assert check(folder, tmp_path / "out").dim == 32
