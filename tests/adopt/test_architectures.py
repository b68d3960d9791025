"""Encoders of other architectures, with a pooling that the user names."""

import numpy as np
import pytest
import torch

import unbraid
from tests.adopt.conftest import WIDTH, tiny_tokenizer
from unbraid.adopt import adopt
from unbraid.vectors import normalize

TEXTS = ["the cat", "a house of stone and a tree", "x", "read the file " * 30]
SHAPE = {
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 128,
    "max_position_embeddings": 66,
    "initializer_range": 0.2,
    "pad_token_id": 0,
}


def config_of(kind, pieces):
    import transformers

    names = {
        "roberta": ("RobertaConfig", SHAPE | {"pad_token_id": 1}),
        "mpnet": ("MPNetConfig", SHAPE | {"pad_token_id": 1}),
        "distilbert": (
            "DistilBertConfig",
            {"dim": WIDTH, "n_layers": 2, "n_heads": 2, "hidden_dim": 128, "max_position_embeddings": 66},
        ),
        "modernbert": (
            "ModernBertConfig",
            SHAPE | {"cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3},
        ),
        "qwen3": ("Qwen3Config", SHAPE | {"num_key_value_heads": 1, "head_dim": 32}),
        "t5": ("T5Config", {"d_model": WIDTH, "num_layers": 2, "num_heads": 2, "d_ff": 128, "d_kv": 32}),
    }
    name, settings = names[kind]
    return getattr(transformers, name)(vocab_size=pieces, **settings)


def write(kind, folder):
    import transformers

    from unbraid.training.torchvision_shim import ensure_torchvision

    ensure_torchvision()
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    config = config_of(kind, len(tokenizer))
    model = (
        transformers.T5EncoderModel(config) if kind == "t5" else transformers.AutoModel.from_config(config)
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("kind", "pooling"),
    [
        ("roberta", "cls"),
        ("mpnet", "mean"),
        ("distilbert", "max"),
        ("modernbert", "mean"),
        ("qwen3", "last"),
        ("t5", "mean"),
    ],
)
def test_an_encoder_gives_what_transformers_gives(kind, pooling, tmp_path):
    from transformers import AutoModel, T5EncoderModel

    folder = write(kind, tmp_path / kind)
    adopt(folder, tmp_path / "out", pooling=pooling)
    model = unbraid.load(tmp_path / "out", threads=1, precision="fp32")
    kind_of_model = T5EncoderModel if kind == "t5" else AutoModel
    original = kind_of_model.from_pretrained(folder).eval()
    tokenizer = tiny_tokenizer()
    for text, found in zip(TEXTS, model.encode(TEXTS, on_truncate="ignore"), strict=True):
        ids = torch.tensor([tokenizer(text, truncation=True, max_length=64)["input_ids"]])
        with torch.inference_mode():
            states = original(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0].numpy()
        pooled = {"mean": states.mean(0), "cls": states[0], "max": states.max(0), "last": states[-1]}[pooling]
        np.testing.assert_allclose(found, normalize(pooled[None])[0], atol=1e-4)
