"""An int8 graph as float32: the weights that its numbers stand for, and no rounding of activations.

It undoes what `onnx_graphs.quantize` and `token_table` write. Such a graph gives the vectors of a torch model that has
these weights, so it is what that model is compared with.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from unbraid.errors import DataError

# Inputs of QEmbedLayerNormalization: five tables and vectors, then the mask, their scales, their zero points.
_TABLES, _SCALES, _ZEROS = slice(2, 7), slice(8, 13), slice(13, 18)
_INT8 = {"DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "QuantizeLinear"}


def float_graph(path: Path) -> Any:
    """The onnx model at `path` in float32; one that is float32 already stays as it is.

    Raises DataError for a file that is no graph, or an operator in int8 that no text graph of ours has.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path)
    except DecodeError as error:
        raise DataError(f"{path}: not an ONNX graph: {error}") from error
    parts = _Parts(model.graph)
    nodes = []
    for node in model.graph.node:
        if parts.replaced & {*node.output}:
            continue
        change = _CHANGES.get(node.op_type)
        try:
            nodes.append(change(parts, node) if change else node)
        except (KeyError, ValueError, IndexError, StopIteration) as error:
            name = f"{node.op_type} {node.name}"
            raise DataError(f"{path}: {name} is not as unbraid writes it: {error!r}") from error
    used = {output.name for output in model.graph.output}
    needed = []
    for node in reversed(nodes):  # a graph's nodes stand before those that read them
        if node is not None and used & {*node.output}:
            needed.append(node)
            used.update(node.input)
    if left := sorted({node.op_type for node in needed} & _INT8):
        raise DataError(f"{path}: {', '.join(left)}: not an operator of a text graph that unbraid writes")
    del model.graph.node[:], model.graph.initializer[:], model.graph.value_info[:]
    model.graph.node.extend(reversed(needed))
    model.graph.initializer.extend(tensor for name, tensor in parts.stored.items() if name in used)
    return model


class _Parts:
    """The tensors of a graph, and which node makes and which nodes read each."""

    def __init__(self, graph: Any) -> None:
        self.stored = {tensor.name: tensor for tensor in graph.initializer}
        self.made_by = {name: node for node in graph.node for name in node.output}
        self.nodes = list(graph.node)
        self.replaced: set[str] = set()  # outputs of nodes that a change has taken in already

    def array(self, name: str) -> np.ndarray:
        from onnx import numpy_helper

        found: np.ndarray = numpy_helper.to_array(self.stored[name])
        return found

    def store(self, name: str, weights: np.ndarray) -> str:
        from onnx import numpy_helper

        self.stored[name] = numpy_helper.from_array(np.ascontiguousarray(weights, dtype=np.float32), name)
        return name

    def weights(self, codes: str, scale: str, zero: str) -> str:
        """Store what codes with one scale, or one for each of their last axis, stand for."""
        numbers = (self.array(codes).astype(np.float32) - self.array(zero).astype(np.float32)) * self.array(
            scale
        )
        return self.store(codes.removesuffix("_quantized"), numbers)

    def reader(self, name: str, kind: str) -> Any:
        return next(node for node in self.nodes if node.op_type == kind and name in node.input)


def _node(like: Any, kind: str, inputs: list[str], output: list[str]) -> Any:
    """A node with the name and attributes of `like`."""
    import onnx

    node = onnx.helper.make_node(kind, inputs, output, name=like.name, domain=like.domain)
    node.attribute.extend(like.attribute)
    return node


def _attention(parts: _Parts, node: Any) -> Any:
    x, codes, bias, _, scale, mask, _, zero = node.input[:8]
    inputs = [parts.made_by[x].input[0], parts.weights(codes, scale, zero), bias, mask]
    return _node(node, "Attention", inputs, list(node.output))


def _product(parts: _Parts, node: Any) -> Any:
    """MatMulInteger, the Cast of its sums and the Mul with both scales are one MatMul."""
    x, codes, _, zero = node.input
    cast = parts.reader(node.output[0], "Cast")
    scaled = parts.reader(cast.output[0], "Mul")
    scales = next(name for name in scaled.input if name != cast.output[0])
    scale = next(name for name in parts.made_by[scales].input if name in parts.stored)
    parts.replaced.update([*cast.output, *scaled.output])
    inputs = [parts.made_by[x].input[0], parts.weights(codes, scale, zero)]
    return _node(node, "MatMul", inputs, list(scaled.output))


def _product_of_blocks(parts: _Parts, node: Any) -> Any:
    import onnx

    codes, scales = parts.array(node.input[1]).astype(np.float32), parts.array(node.input[2])
    numbers = ((codes - 128) * scales.reshape(codes.shape[:2])[..., None]).reshape(len(codes), -1)
    inputs = [node.input[0], parts.store(node.input[1].removesuffix(".codes"), numbers.T)]
    return onnx.helper.make_node("MatMul", inputs, list(node.output), name=node.name)


def _rows_of_blocks(parts: _Parts, node: Any) -> Any:
    import onnx

    codes, scales = parts.array(node.input[0]).astype(np.float32), parts.array(node.input[2])
    numbers = codes * np.repeat(scales, codes.shape[1] // scales.shape[1], axis=1)
    inputs = [parts.store(node.input[0].removesuffix(".codes"), numbers), node.input[1]]
    return onnx.helper.make_node("Gather", inputs, list(node.output), name=node.name)


def _embeddings(parts: _Parts, node: Any) -> Any:
    tables = zip(node.input[_TABLES], node.input[_SCALES], node.input[_ZEROS], strict=True)
    inputs = [*node.input[:2], *(parts.weights(*one) for one in tables), node.input[7]]
    return _node(node, "EmbedLayerNormalization", inputs, list(node.output))


def _rows(parts: _Parts, node: Any) -> Any:
    """DequantizeLinear of rows that were gathered from a table; or of stored numbers, which then are stored as float32."""
    codes, scale, zero = node.input
    if codes not in parts.stored:
        gather = parts.made_by[codes]
        inputs = [parts.weights(gather.input[0], scale, zero), gather.input[1]]
        return _node(gather, "Gather", inputs, list(node.output))
    parts.store(node.output[0], parts.array(parts.weights(codes, scale, zero)))
    return None


_CHANGES: Mapping[str, Callable[[_Parts, Any], Any]] = {
    "QAttention": _attention,
    "MatMulInteger": _product,
    "MatMulNBits": _product_of_blocks,
    "GatherBlockQuantized": _rows_of_blocks,
    "QEmbedLayerNormalization": _embeddings,
    "DequantizeLinear": _rows,
}
