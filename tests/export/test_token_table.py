import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import TensorProto, helper, numpy_helper

from unbraid.export.token_table import BLOCK, four_bit_blocks, store_in_four_bits
from unbraid.runtime.onnx_session import open_graph, run_graph


def blocks(codes, scales):
    """The table of codes [V, n, BLOCK] and scales [V, n]."""
    table = codes.astype(np.float32) * scales[..., None].astype(np.float32)
    return table.reshape(len(codes), -1)


# A block's number of largest size has the code -8 (q4_0), so every block here has one.
CODES = arrays(np.int8, (3, 2, BLOCK), elements=st.integers(-7, 7))
SCALES = arrays(np.float16, (3, 2), elements=st.floats(-4, 4, width=16))


@given(CODES, SCALES, st.integers(0, BLOCK - 1))
def test_what_was_stored_in_4_bits_is_found_exactly(codes, scales, place):
    codes[..., place] = -8
    table = blocks(codes, scales)
    found = four_bit_blocks(table)
    assert found is not None
    again = blocks(found[0].reshape(3, 2, BLOCK), found[1])
    assert np.array_equal(again, table)
    assert found[0].min() >= -8 and found[0].max() <= 7


def test_other_tables_are_left_alone():
    table = np.random.default_rng(0).standard_normal((4, BLOCK)).astype(np.float32)
    assert four_bit_blocks(table) is None
    assert four_bit_blocks(np.zeros((4, BLOCK + 1), np.float32)) is None


def graph_of(path, table):
    """A graph that gathers rows of `table`, and of a smaller one."""
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("Gather", ["small", "ids"], ["added"]),
        helper.make_node("Add", ["rows", "added"], ["out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["b", "t"])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(np.ones((8, table.shape[1]), np.float32), "small"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def test_a_graph_gives_the_same_numbers_from_4_bits(tmp_path):
    rng = np.random.default_rng(1)
    codes = rng.integers(-7, 8, (64, 2, BLOCK)).astype(np.int8)
    codes[..., 3] = -8
    table = blocks(codes, rng.standard_normal((64, 2)).astype(np.float16))
    graph_of(tmp_path / "g.onnx", table)
    ids = np.array([[0, 7, 5], [1, 1, 2]])
    before = run_graph(open_graph(tmp_path / "g.onnx"), "out", {"ids": ids})
    size = (tmp_path / "g.onnx").stat().st_size
    assert store_in_four_bits(tmp_path / "g.onnx")
    np.testing.assert_array_equal(run_graph(open_graph(tmp_path / "g.onnx"), "out", {"ids": ids}), before)
    assert (tmp_path / "g.onnx").stat().st_size < size / 2


@pytest.mark.parametrize("width", [BLOCK, BLOCK + 2])
def test_a_graph_whose_table_is_no_4_bit_one_stays_byte_for_byte(tmp_path, width):
    graph_of(tmp_path / "g.onnx", np.random.default_rng(2).standard_normal((64, width)).astype(np.float32))
    before = (tmp_path / "g.onnx").read_bytes()
    assert not store_in_four_bits(tmp_path / "g.onnx")
    assert (tmp_path / "g.onnx").read_bytes() == before


def test_a_table_of_int8_is_left_as_it_is(tmp_path):
    graph_of(tmp_path / "g.onnx", np.random.default_rng(2).integers(-9, 9, (64, BLOCK)).astype(np.int8))
    store_in_four_bits(tmp_path / "g.onnx")
    assert "table" in {one.name for one in onnx.load(tmp_path / "g.onnx").graph.initializer}
