import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import TensorProto, helper, numpy_helper

from unbraid.export.onnx_graphs import quantize
from unbraid.export.wide_products import BLOCK, eight_bit_blocks, wide_products
from unbraid.runtime.onnx_session import open_graph, run_graph

RNG = np.random.default_rng(3)
DEPTH = 2 * BLOCK
FIRST, SECOND = (RNG.standard_normal((DEPTH, DEPTH)).astype(np.float32) for _ in range(2))
FIRST[7] *= 0.01  # what is wide before it is even after it
EVEN = RNG.standard_normal((400, DEPTH)).astype(np.float32)
WIDE = EVEN.copy()
WIDE[0, 7] = 400.0  # as one neuron of e5's feed-forward layers


@pytest.fixture
def graph(tmp_path):
    """x -> x FIRST SECOND, as two products."""
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["middle"], name="one"),
        helper.make_node("MatMul", ["middle", "second"], ["y"], name="two"),
    ]
    shapes = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", DEPTH]) for name in "xy"]
    weights = [numpy_helper.from_array(FIRST, "first"), numpy_helper.from_array(SECOND, "second")]
    made = helper.make_graph(nodes, "two", shapes[:1], shapes[1:], weights)
    path = tmp_path / "fp32.onnx"
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def cosines(path, given):
    found, expected = run_graph(open_graph(path), "y", {"x": given}), given @ FIRST @ SECOND
    return (found * expected).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)


def test_a_product_is_wide_if_one_number_drowns_the_others(graph):
    assert wide_products(graph, [{"x": EVEN}]) == []
    assert wide_products(graph, [{"x": EVEN}, {"x": WIDE}]) == ["one"]
    assert wide_products(graph, []) == [] and {file.name for file in graph.parent.iterdir()} == {"fp32.onnx"}


def test_a_wide_product_keeps_its_other_rows_in_int8(graph, tmp_path):
    plain, blocked = tmp_path / "plain.onnx", tmp_path / "blocked.onnx"
    quantize(graph, plain)
    quantize(graph, blocked, [{"x": WIDE}])
    assert cosines(plain, WIDE)[1:].max() < 0.99 and cosines(blocked, WIDE)[1:].min() > 0.998
    kinds = {node.name: node.op_type for node in onnx.load(blocked).graph.node}
    assert kinds["one"] == "MatMulNBits" and "two" not in kinds


def test_nothing_changes_where_no_product_is_wide(graph, tmp_path):
    one, other = tmp_path / "one.onnx", tmp_path / "other.onnx"
    quantize(graph, one)
    quantize(graph, other, [{"x": EVEN}])
    assert one.read_bytes() == other.read_bytes()


@given(arrays(np.float32, (DEPTH, 3), elements=st.floats(-8, 8, width=32)))
def test_blocks_are_within_half_a_step(weights):
    codes, scales = eight_bit_blocks(weights)
    again = ((codes.astype(np.float32) - 128) * scales[..., None]).reshape(3, DEPTH).T
    steps = np.repeat(scales, BLOCK, axis=1).T
    assert np.all(np.abs(again - weights) <= steps * 0.5001 + 1e-30)
    assert codes.min() >= 1
