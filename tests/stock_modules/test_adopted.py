"""An adopted model goes back to sentence-transformers with the vectors that it had there, where its graph can be read."""

import numpy as np
import pytest
from torch import nn

from tests.adopt.conftest import WIDTH, tiny_bert
from unbraid.adopt import adopt
from unbraid.bundle import read_bundle
from unbraid.errors import DataError
from unbraid.stock_modules import export_stock_folder
from unbraid.training.torchvision_shim import ensure_torchvision

TEXTS = ["the cat", "a house of stone and a tree", "x", "read the file " * 30]


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    ensure_torchvision()
    return tiny_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture
def original(bert, tmp_path):
    """`original(pooling, *modules)`: a saved model of sentence-transformers, its folder and its bundle."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    def make(pooling, *modules):
        model = SentenceTransformer(
            modules=[Transformer(str(bert)), Pooling(WIDTH, pooling), *modules], device="cpu"
        )
        model.save(str(tmp_path / "model"))
        adopt(tmp_path / "model", tmp_path / "bundle")
        return model, read_bundle(tmp_path / "bundle")

    return make


def dense(activation):
    from sentence_transformers.base.modules import Dense

    return Dense(WIDTH, 24, activation_function=activation)


@pytest.mark.parametrize(("pooling", "projected"), [("mean", False), ("cls", False), ("cls", True)])
def test_the_vectors_are_the_same(original, pooling, projected, tmp_path):
    from sentence_transformers import SentenceTransformer

    model, bundle = original(pooling, *([dense(nn.Identity())] if projected else []))
    export_stock_folder(bundle, tmp_path / "out")
    found = SentenceTransformer(str(tmp_path / "out"), device="cpu").encode(TEXTS)
    assert np.abs(found - model.encode(TEXTS, normalize_embeddings=True)).max() < 1e-4


@pytest.mark.parametrize(
    ("pooling", "activation", "message"),
    [("max", None, "mean or CLS pooling"), ("mean", nn.Tanh(), "Tanh after the pooling")],
)
def test_what_cannot_be_read_is_refused(original, pooling, activation, message, tmp_path):
    _, bundle = original(pooling, *([dense(activation)] if activation else []))
    with pytest.raises(DataError, match=rf"bundle/text.fp32.onnx: .*{message}"):
        export_stock_folder(bundle, tmp_path / "out")
    assert not (tmp_path / "out").exists()
