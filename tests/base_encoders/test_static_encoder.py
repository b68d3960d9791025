"""The static encoder: what it computes, what it saves, and its graphs against torch."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from unbraid.base_encoders.static_encoder import StaticEncoder, load_static_encoder
from unbraid.export.onnx_graphs import export_static
from unbraid.export.parity import compare

TOKENS, WIDTH, DIM = 50, 16, 24
NAMES = ["input_ids", "attention_mask"]


def encoder():
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(TOKENS, WIDTH, generator=generator)
    table *= torch.logspace(-3, 1, TOKENS)[:, None]  # frequent and rare tokens differ in length
    return StaticEncoder(table, torch.randn(DIM, WIDTH, generator=generator)).requires_grad_(False)


def batch(*lengths):
    generator = torch.Generator().manual_seed(sum(lengths))
    ids = [torch.randint(1, TOKENS, (length,), generator=generator) for length in lengths]
    padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(one) for one in ids], batch_first=True)
    return padded, mask


def run(path, ids, mask):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["base_vector"], {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})[0]


# -- the encoder -----------------------------------------------------------------------------------------------


def test_a_vector_is_the_projected_sum_of_its_rows_at_unit_length():
    made = StaticEncoder(torch.tensor([[9.0, 9], [1, 0], [0, 2]]), torch.tensor([[1.0, 0], [0, 2], [0, 0]]))
    found = made(torch.tensor([[1, 2, 1], [2, 0, 0]]), torch.tensor([[1, 1, 1], [1, 0, 0]]))
    # Rows [1,0] + [0,2] + [1,0] = [2,2], projected [2,4,0]; then [0,2] alone, projected [0,4,0].
    torch.testing.assert_close(found, torch.tensor([[1.0, 2, 0], [0, 1, 0]]) / torch.tensor([[5**0.5], [1]]))


def test_padding_and_company_do_not_change_a_vector():
    ids, mask = batch(9, 3, 1)
    ids[mask == 0] = 7  # whatever stands in padding
    together = encoder()(ids, mask)
    for row, length in enumerate((9, 3, 1)):
        alone = encoder()(ids[row : row + 1, :length], mask[row : row + 1, :length])
        torch.testing.assert_close(together[row : row + 1], alone)


def test_the_order_of_tokens_does_not_matter():
    ids, mask = batch(9)
    torch.testing.assert_close(encoder()(ids.flip(1), mask), encoder()(ids, mask))


def test_only_rows_that_were_looked_up_get_a_gradient():
    made = encoder().requires_grad_(True)
    made(torch.tensor([[3, 5, 9]]), torch.tensor([[1, 1, 0]]))[0, 0].backward()
    assert made.table.grad.abs().sum(1).nonzero().flatten().tolist() == [3, 5]


def test_a_saved_encoder_loads_to_the_same_vectors(tmp_path):
    encoder().save(tmp_path)
    assert torch.equal(load_static_encoder(tmp_path)(*batch(5, 2)), encoder()(*batch(5, 2)))
    assert json.loads((tmp_path / "encoder.json").read_text()) == {
        "static": {"tokens": TOKENS, "width": WIDTH, "dim": DIM}
    }


# -- its graphs ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def graphs(tmp_path_factory):
    """fp32 and int8 graph of one encoder."""
    folder = tmp_path_factory.mktemp("static")
    export_static(encoder(), folder / "nano.fp32.onnx")
    export_static(encoder(), folder / "nano.int8.onnx", int8=True)
    return folder


@pytest.mark.parametrize("lengths", [(1,), (2,), (40,), (7,) * 5, (40, 1), (3, 30, 8, 1)])
def test_a_graph_gives_what_torch_gives(graphs, lengths):
    np.testing.assert_allclose(
        run(graphs / "nano.fp32.onnx", *batch(*lengths)), encoder()(*batch(*lengths)), atol=1e-5
    )


def test_an_int8_graph_is_what_its_rounded_rows_add_up_to(graphs):
    table = encoder().table
    scale = table.abs().amax(1, keepdim=True) / 127
    rounded = StaticEncoder((table / scale).round() * scale, encoder().projection.weight)
    found = run(graphs / "nano.int8.onnx", *batch(9, 30, 1))
    np.testing.assert_allclose(found, rounded(*batch(9, 30, 1)).detach(), atol=1e-5)


def test_int8_rows_of_any_length_keep_their_direction(graphs):
    """One scale for the whole table would round short rows to nothing."""
    parity = compare(
        encoder(), graphs / "nano.int8.onnx", NAMES, [batch(*[1] * 40)], "base_vector", rounded=True
    )
    assert parity.least_cosine > 0.9995


def test_a_row_of_zeros_can_be_rounded(tmp_path):
    made = encoder()
    made.table[7] = 0
    export_static(made, tmp_path / "nano.int8.onnx", int8=True)
    found = run(tmp_path / "nano.int8.onnx", torch.tensor([[7, 9]]), torch.ones(1, 2, dtype=torch.long))
    assert np.isfinite(found).all() and np.linalg.norm(found) == pytest.approx(1, abs=1e-5)


def test_padding_and_company_do_not_change_an_int8_vector(graphs):
    ids, mask = batch(9, 3)
    np.testing.assert_allclose(
        run(graphs / "nano.int8.onnx", ids, mask)[1:],
        run(graphs / "nano.int8.onnx", ids[1:, :3], mask[1:, :3]),
        atol=1e-6,
    )


def test_the_table_of_an_int8_graph_is_int8_and_nothing_else_large(graphs):
    weights = onnx.load(graphs / "nano.int8.onnx").graph.initializer
    arrays = [onnx.numpy_helper.to_array(one) for one in weights]
    assert [one.shape for one in arrays if one.dtype == np.int8] == [(TOKENS, WIDTH)]
    assert sum(one.nbytes for one in arrays if one.dtype != np.int8) <= 4 * (TOKENS + WIDTH * DIM) + 100
