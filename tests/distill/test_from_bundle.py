import pytest
import torch
from typer.testing import CliRunner

from unbraid.base_encoders.text import start_text_encoder
from unbraid.cli.main import app
from unbraid.distill.from_bundle import bert_of_graph, text_encoder_of_bundle
from unbraid.errors import BundleError, DataError
from unbraid.export.graphs import export_mapper, export_text, quantise
from unbraid.loading import STARTER
from unbraid.mappers import LinearMapper
from unbraid.training.torchvision_shim import ensure_torchvision

ensure_torchvision()


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A random BERT of two layers, in a folder."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=60,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=24,
        initializer_range=0.2,
    )
    folder = tmp_path_factory.mktemp("bert")
    model = BertModel(config, add_pooling_layer=False).eval()
    for parameter in model.parameters():
        if parameter.ndim == 1:  # all start at 0 or 1, where one in another's place would not show
            torch.nn.init.normal_(parameter, mean=0.5, std=0.2)
    model.save_pretrained(folder)
    return folder


def test_every_weight_comes_back_within_its_rounding(bert, tmp_path):
    encoder = start_text_encoder(bert, 16, attention="eager").eval()
    torch.nn.init.normal_(encoder.projection.weight)
    export_text(encoder, tmp_path / "text.onnx")
    quantise(tmp_path / "text.onnx", tmp_path / "text.int8.onnx")
    found = bert_of_graph(tmp_path / "text.int8.onnx").eval()
    assert found.config.num_attention_heads == 4 and found.config.intermediate_size == 48
    expected = dict(encoder.backbone.named_parameters())
    assert set(dict(found.named_parameters())) == set(expected)
    for name, weight in found.named_parameters():
        step = expected[name].abs().max() / 63  # 7 bits, and one scale for the whole at worst
        assert (weight - expected[name]).abs().max() <= step, name


def test_the_shipped_text_encoder_comes_back_with_its_tokenizer(tmp_path):
    from transformers import AutoModel

    text_encoder_of_bundle(STARTER, tmp_path)
    model = AutoModel.from_pretrained(tmp_path, add_pooling_layer=False)
    assert model.config.hidden_size == 384 and (tmp_path / "tokenizer.json").exists()


def test_a_graph_of_another_kind_is_refused_by_its_path(tmp_path):
    path = tmp_path / "mapper.onnx"
    export_mapper(LinearMapper(torch.eye(8)), path, 8)
    with pytest.raises(DataError, match=r"mapper\.onnx: no fused int8 BERT"):
        bert_of_graph(path)


def test_unpack_says_what_is_no_bundle_and_what_is_no_folder(tmp_path):
    missing = CliRunner().invoke(app, ["unpack", str(tmp_path / "nothing"), str(tmp_path / "encoder")])
    assert isinstance(missing.exception, BundleError) and "not a bundle folder" in str(missing.exception)
    (tmp_path / "file").write_text("mine")
    refused = CliRunner().invoke(app, ["unpack", str(STARTER), str(tmp_path / "file")])
    assert isinstance(refused.exception, DataError) and (tmp_path / "file").read_text() == "mine"
