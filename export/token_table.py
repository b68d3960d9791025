"""Store a graph's token table in 4 bits a number where that loses nothing.

Weights that were published in blocks of 4 bits (q4_0: 32 numbers that share a float16 scale, each a whole number from
-8 to 7 times it) are the same numbers as such blocks again, in half of int8's bytes. The operator is onnxruntime's
GatherBlockQuantized, in every release since 1.20.
"""

from pathlib import Path
from typing import Any

import numpy as np

BLOCK = 32  # numbers that share a scale


def four_bit_blocks(table: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Codes int8 [V, D] from -8 to 7 and scales float32 [V, D / 32] that give `table` float32 [V, D] exactly.

    None where no such numbers exist.
    """
    rows, width = table.shape
    if width % BLOCK:
        return None
    blocks = table.reshape(rows, width // BLOCK, BLOCK)
    # In q4_0 the number of largest size has the code -8, so its sign decides that of the scale.
    place = np.abs(blocks).argmax(-1)[..., None]
    scales = np.take_along_axis(blocks, place, -1) / -8
    codes = np.rint(np.divide(blocks, scales, out=np.zeros_like(blocks), where=scales != 0))
    if codes.min() < -8 or codes.max() > 7 or not np.array_equal(codes * scales, blocks):
        return None
    return codes.reshape(rows, width).astype(np.int8), scales[..., 0]


def store_in_four_bits(path: Path) -> bool:
    """Replace the largest table that the graph at `path` gathers from; whether it could be."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    graph = model.graph
    tensors = {
        tensor.name: tensor
        for tensor in graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 2
    }
    gathers = [node for node in graph.node if node.op_type == "Gather" and node.input[0] in tensors]
    if not gathers:
        return False
    node = max(gathers, key=lambda one: np.prod(tensors[one.input[0]].dims))
    tensor = tensors[node.input[0]]
    if (found := four_bit_blocks(numpy_helper.to_array(tensor))) is None:
        return False
    codes, scales = found
    low, high = codes[:, ::2].astype(np.uint8) & 15, codes[:, 1::2].astype(np.uint8) & 15
    packed = onnx.helper.make_tensor(
        f"{tensor.name}.codes", onnx.TensorProto.INT4, codes.shape, (low | high << 4).tobytes(), raw=True
    )
    scale = numpy_helper.from_array(scales, f"{tensor.name}.scales")
    gather = onnx.helper.make_node(
        "GatherBlockQuantized",
        [packed.name, node.input[1], scale.name],
        list(node.output),
        domain="com.microsoft",
        block_size=BLOCK,
        gather_axis=0,
        quantize_axis=1,
    )
    nodes = [gather if one is node else one for one in graph.node]
    kept = [one for one in graph.initializer if one.name != tensor.name]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend([*kept, packed, scale])
    model.ir_version = max(model.ir_version, 10)  # the first with 4-bit tensors
    allow_contrib_operators(model)
    onnx.save(model, path)
    return True


def allow_contrib_operators(model: Any) -> None:
    """Let the onnx `model` use onnxruntime's own operators."""
    import onnx

    if all(one.domain != "com.microsoft" for one in model.opset_import):
        model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
