"""Keep the products of a graph whose inputs span too much for one scale out of dynamic quantization.

Dynamic int8 gives all activations of a product one scale. Where one number is hundreds of times the others (e5 has three
such layers), the others round to nothing. Those products take MatMulNBits: weights and activations both in 8 bits, one
scale for each block of 64 numbers. It costs half as much again as the plain product, so only they take it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from unbraid.export.token_table import allow_contrib_operators
from unbraid.runtime.onnx_session import open_graph

BLOCK = 64  # numbers that share a scale
WIDE = 127  # a step of 8 bits is then half of the root mean square


def wide_products(path: Path, inputs: Sequence[Mapping[str, np.ndarray]], wide: float = WIDE) -> list[str]:
    """Names of the MatMul nodes of the graph at `path` whose left input is wide for one of `inputs`.

    Wide: the largest less the smallest number, over the root mean square, is more than `wide`. Weights whose depth is no
    multiple of BLOCK cannot be stored in blocks and are left out.
    """
    import onnx

    model = onnx.load(path)
    depths = {tensor.name: tensor.dims[0] for tensor in model.graph.initializer if len(tensor.dims) == 2}
    products = [
        node
        for node in model.graph.node
        if node.op_type == "MatMul" and depths.get(node.input[1], 1) % BLOCK == 0
    ]
    if not products:
        return []
    read = list(dict.fromkeys(node.input[0] for node in products))
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in read)
    probe = path.with_name(f"probe.{path.name}")
    onnx.save(model, probe)
    try:
        session = open_graph(probe)
        found = [zip(read, session.run(read, dict(given)), strict=True) for given in inputs]
    finally:
        probe.unlink()
    too_wide = {name for numbers in found for name, one in numbers if _span(one) > wide}
    return [node.name for node in products if node.input[0] in too_wide]


def _span(numbers: np.ndarray) -> float:
    size = float(np.sqrt(np.square(numbers, dtype=np.float64).mean()))
    return float(numbers.max() - numbers.min()) / size if size else 0.0


def store_in_blocks(path: Path, names: Sequence[str]) -> None:
    """Make MatMulNBits of the MatMul nodes `names` in the graph at `path`, whose weights are float32 [K, N]."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    graph = model.graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.name not in names:
            continue
        tensor = tensors[node.input[1]]
        codes, scales = eight_bit_blocks(numpy_helper.to_array(tensor))
        parts = {f"{tensor.name}.codes": codes, f"{tensor.name}.scales": scales}
        graph.initializer.extend(numpy_helper.from_array(part, name) for name, part in parts.items())
        graph.initializer.remove(tensor)
        product = onnx.helper.make_node(
            "MatMulNBits",
            [node.input[0], *parts],
            list(node.output),
            name=node.name,
            domain="com.microsoft",
            K=codes.shape[1] * codes.shape[2],
            N=codes.shape[0],
            bits=8,
            block_size=codes.shape[2],
            accuracy_level=4,  # activations in int8, a scale for each block
        )
        node.CopyFrom(product)
    allow_contrib_operators(model)
    onnx.save(model, path)


def eight_bit_blocks(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Codes uint8 [N, K / BLOCK, BLOCK] around 128 and scales float32 [N, K / BLOCK] of `weights` float32 [K, N].

    Raises ValueError where K is no multiple of BLOCK.
    """
    depth, width = weights.shape
    blocks = np.ascontiguousarray(weights.T).reshape(width, depth // BLOCK, BLOCK)
    scales = np.abs(blocks).max(-1) / 127
    codes = np.rint(
        np.divide(blocks, scales[..., None], out=np.zeros_like(blocks), where=scales[..., None] != 0)
    )
    return (codes + 128).astype(np.uint8), scales.astype(np.float32)
