"""An int8 graph as float32: its weights are the rounded ones, and its vectors are near those of the unrounded graph."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from unbraid.errors import DataError
from unbraid.export.onnx_graphs import quantize
from unbraid.export.token_table import BLOCK, store_in_four_bits
from unbraid.export.wide_products import store_in_blocks
from unbraid.runtime.onnx_session import open_graph, run_graph
from unbraid.stock_modules.float_graph import float_graph


def weights(model):
    return {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}


def model_of(nodes, stored, inputs):
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        [onnx.helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(one, name) for name, one in stored.items()],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


def product(tmp_path, weight):
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"], name="product")
    x = ("x", onnx.TensorProto.FLOAT, [None, len(weight)])
    onnx.save(model_of([node], {"w": weight}, [x]), tmp_path / "fp32.onnx")
    return tmp_path / "fp32.onnx"


def test_a_float32_graph_stays_as_it_is(tiny):
    path = tiny.bundle / "text.fp32.onnx"
    before, after = weights(onnx.load(path)), weights(float_graph(path))
    used = {name for node in float_graph(path).graph.node for name in node.input}
    assert after.keys() == before.keys() & used
    assert all(np.array_equal(after[name], before[name]) for name in after)


def test_weights_of_an_int8_product_are_within_half_a_step(tmp_path):
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((64, 8)).astype(np.float32)
    quantize(product(tmp_path, weight), tmp_path / "int8.onnx")
    made = float_graph(tmp_path / "int8.onnx")
    [found] = weights(made).values()
    step = np.abs(weight).max(0) / 63  # seven bits, one scale a column
    assert [node.op_type for node in made.graph.node] == ["MatMul"]
    assert found.dtype == np.float32
    assert (np.abs(found - weight) <= 0.51 * step).all()


def test_weights_in_blocks_are_within_half_a_step_and_the_right_way_round(tmp_path):
    rng = np.random.default_rng(1)
    weight = rng.standard_normal((128, 16)).astype(np.float32)
    path = product(tmp_path, weight)
    store_in_blocks(path, ["product"])
    [found] = weights(float_graph(path)).values()
    assert found.shape == weight.shape
    assert np.abs(found - weight).max() <= 0.51 * np.abs(weight).max() / 127


def test_a_table_in_four_bits_comes_back_exactly(tmp_path):
    rng = np.random.default_rng(2)
    table = (rng.integers(-8, 8, (10, 2 * BLOCK)) * 0.5).astype(np.float32)
    table[:, ::BLOCK] = -4  # the code -8, whose scale is then .5
    node = onnx.helper.make_node("Gather", ["table", "input_ids"], ["y"])
    ids = ("input_ids", onnx.TensorProto.INT64, [None])
    onnx.save(model_of([node], {"table": table}, [ids]), tmp_path / "table.onnx")
    assert store_in_four_bits(tmp_path / "table.onnx")
    [found] = weights(float_graph(tmp_path / "table.onnx")).values()
    assert np.array_equal(found, table)


@pytest.mark.parametrize("name", ["text", "tokens", "base", "multi"])
def test_float_graphs_of_int8_tiers_run_and_are_near_the_unrounded(tiered, tmp_path, name):
    ids = np.array([[2, 6, 9, 3]])
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    output = "token_vectors" if name == "tokens" else "base_vector"
    onnx.save(float_graph(tiered.bundle / f"{name}.int8.onnx"), tmp_path / "float.onnx")
    pair = [open_graph(path) for path in (tiered.bundle / f"{name}.fp32.onnx", tmp_path / "float.onnx")]
    takes = {one.name for one in pair[0].get_inputs()}
    if "token_vectors" in takes:
        inputs["token_vectors"] = np.random.default_rng(3).standard_normal((1, 4, 32)).astype(np.float32)
    exact, rounded = (
        run_graph(one, output, {key: value for key, value in inputs.items() if key in takes}) for one in pair
    )
    assert not any("Quantize" in node.op_type for node in onnx.load(tmp_path / "float.onnx").graph.node)
    assert 0 < np.abs(exact - rounded).max() < 0.05 * np.abs(exact).max()


def test_another_kind_of_int8_graph_is_refused(tmp_path):
    nodes = [
        onnx.helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["codes"]),
        onnx.helper.make_node("DequantizeLinear", ["codes", "scale", "zero"], ["y"]),
    ]
    stored = {"scale": np.float32(0.1), "zero": np.int8(0)}
    x = ("x", onnx.TensorProto.FLOAT, [None])
    onnx.save(model_of(nodes, {k: np.array(v) for k, v in stored.items()}, [x]), tmp_path / "tower.onnx")
    with pytest.raises(DataError, match="tower.onnx: DequantizeLinear .*not as unbraid writes it"):
        float_graph(tmp_path / "tower.onnx")


def test_a_file_that_is_no_graph_is_refused(tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"\xff\x00 no graph")
    with pytest.raises(DataError, match="broken.onnx: not an ONNX graph"):
        float_graph(tmp_path / "broken.onnx")
