"""The head of a text encoder as a graph behind the encoder's own."""

import json

import numpy as np
import pytest
import torch

import unbraid
from unbraid.base_encoders.graph_states import open_with_states
from unbraid.base_encoders.multi_vector_head import HEAD_FOLDER, MultiVectorHead, load_multi_vector_head
from unbraid.base_encoders.text_encoder import load_text_encoder
from unbraid.errors import DataError
from unbraid.export.multi_vector_graph import export_head
from unbraid.runtime.onnx_session import open_graph

TEXTS = ["the cat is in the red house", "dog", "a bright moon of the river", "def model return self"]


def test_token_vectors_are_those_of_torch(tiny):
    embedder = unbraid.load(tiny.bundle, precision="fp32", threads=1)
    encoder = load_text_encoder(tiny.run / "small").eval()
    head = load_multi_vector_head(tiny.run / "small" / HEAD_FOLDER).eval()
    found = embedder.token_vectors(TEXTS, pruned=False)
    for text, one in zip(TEXTS, found, strict=True):
        ids = torch.tensor(embedder.tokenize([text])[0])
        with torch.no_grad():
            vectors, weights = head(encoder.states(ids, torch.ones_like(ids))[-1], torch.ones_like(ids))
        assert np.allclose(
            one.vectors, vectors[0, 1:-1].numpy(), atol=2e-3
        )  # weights of the head are float16
        assert np.allclose(one.weights, weights[0, 1:-1].numpy(), atol=2e-3)
        assert one.ids.tolist() == ids[0, 1:-1].tolist()


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_base_vectors_are_the_same_bits_with_the_head(tiny, precision):
    text = unbraid.load(tiny.bundle, precision=precision).bundle.text["text"]
    inputs = {"input_ids": np.asarray([[2, 9, 17, 40, 3]]), "attention_mask": np.ones((1, 5), np.int64)}
    graph, head = (tiny.bundle / one[precision] for one in (text.graphs, text.multi_vector.graphs))
    alone, joined = open_graph(graph), open_graph(graph, head=head.read_bytes())
    assert (alone.run(["base_vector"], inputs)[0] == joined.run(["base_vector"], inputs)[0]).all()


def test_padding_and_texts_beside_it_change_no_token(embedder):
    together = embedder.token_vectors(TEXTS)
    for text, one in zip(TEXTS, together, strict=True):
        (alone,) = embedder.token_vectors([text])
        assert (alone.vectors == one.vectors).all()
        assert (alone.weights == one.weights).all()


def test_the_parity_of_each_head_is_in_the_report(tiny):
    graphs = {one["graph"] for one in json.loads((tiny.bundle / "parity.json").read_text())}
    assert {"text.multi_vector.int8.onnx", "text.multi_vector.fp32.onnx"} <= graphs


def test_a_graph_without_layers_is_refused(tiny, tmp_path):
    head = MultiVectorHead(32, 8, inner=32, hidden=16)
    with pytest.raises(DataError, match="not a fused BERT-type graph"):
        export_head(head, tiny.bundle / "query.mapper.fp32.onnx", tmp_path / "head.onnx", int8=False)


@pytest.mark.parametrize(("inner", "hidden"), [(0, 0), (32, 0), (0, 16), (32, 16)])
def test_a_head_with_and_without_inner_layers_is_that_of_torch(tiny, tmp_path, inner, hidden):
    torch.manual_seed(1)
    head = MultiVectorHead(32, 8, inner=inner, hidden=hidden)
    head.save(tmp_path)
    head = load_multi_vector_head(tmp_path).eval()
    encoder = tiny.bundle / unbraid.load(tiny.bundle).bundle.text["text"].graphs["fp32"]
    export_head(head, encoder, tmp_path / "head.onnx", int8=False)
    inputs = {
        "input_ids": np.asarray([[2, 9, 17, 3], [2, 9, 3, 0]]),
        "attention_mask": np.asarray([[1] * 4, [1, 1, 1, 0]]),
    }
    session, states = open_with_states(encoder)
    (given,) = session.run([states], inputs)
    joined = open_graph(encoder, head=(tmp_path / "head.onnx").read_bytes())
    found = joined.run(["multi_vectors", "weights"], inputs)
    with torch.no_grad():
        expected = head(torch.from_numpy(given), torch.from_numpy(inputs["attention_mask"]))
    real = inputs["attention_mask"].astype(bool)
    for one, other in zip(found, expected, strict=True):
        assert np.allclose(one[real], other.numpy()[real], atol=2e-3)
