"""A multi-vector head as a graph that is appended to its encoder's file (unbraid.bundle.MultiVectorSpec).

The head is exported and rounded like any module. Then its input becomes the encoder's tensor of last token states, every other
name gets a prefix of its own, and what the encoder's file says already (versions, inputs) is left out.
"""

from pathlib import Path
from typing import Any

import torch

from unbraid.base_encoders.multi_vector_head import MultiVectorHead
from unbraid.errors import DataError
from unbraid.export.onnx_graphs import export_module, quantize, store_in_half
from unbraid.runtime.onnx_session import Session, open_graph

OUTPUTS = ["multi_vectors", "weights"]
_STATES, _MASK, _PREFIX = "states", "attention_mask", "multi_vector."


def export_head(head: MultiVectorHead, encoder: Path, path: Path, *, int8: bool) -> None:
    """Write to `path` what, appended to the graph `encoder`, gives multi_vectors [B, T, dim] and weights [B, T].

    With `int8` products are rounded as an encoder's are; without, weights take float16 and the arithmetic is float32. Raises
    DataError where the encoder is no fused BERT-type graph.
    """
    import onnx

    states = _last_states(encoder)
    whole = path.with_suffix(".whole.onnx")
    width = len(head.mean)
    example = (torch.randn(2, 8, width), torch.ones((2, 8), dtype=torch.long))
    axes = {one: {0: "batch", 1: "tokens"} for one in (_STATES, _MASK, *OUTPUTS)}
    export_module(head, example, whole, [_STATES, _MASK], OUTPUTS, axes)
    if int8:
        quantize(whole, path)
        path.replace(whole)
    else:
        store_in_half(whole)
    exported = onnx.load(whole)
    whole.unlink()
    part = onnx.ModelProto()  # no versions: those of the encoder's file hold
    part.graph.node.extend(exported.graph.node)
    part.graph.initializer.extend(exported.graph.initializer)
    part.graph.output.extend(exported.graph.output)
    _rename(part.graph, {_STATES: states, _MASK: _MASK, "": ""} | {name: name for name in OUTPUTS})
    path.write_bytes(part.SerializeToString())


def open_with_states(encoder: Path) -> tuple[Session, str]:
    """The graph `encoder` with its last token states [B, T, width] as one more output, and the output's name."""
    import onnx

    name = _last_states(encoder)
    part = onnx.ModelProto()
    part.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    return open_graph(encoder, head=part.SerializeToString()), name


def _last_states(encoder: Path) -> str:
    """The name of the last token states in the fused graph of a BERT-type encoder."""
    import onnx

    nodes = onnx.load(encoder, load_external_data=False).graph.node
    names: list[str] = [node.output[0] for node in nodes if node.op_type == "SkipLayerNormalization"]
    if not names:
        raise DataError(f"{encoder}: no layer normalization that ends a layer: not a fused BERT-type graph")
    return names[-1]


def _rename(graph: Any, kept: dict[str, str]) -> None:
    """Put the prefix before every name in `graph` but those `kept`."""

    def renamed(name: str) -> str:
        return kept.get(name, f"{_PREFIX}{name}")

    for node in graph.node:
        node.name = renamed(node.name)
        node.input[:] = map(renamed, node.input)
        node.output[:] = map(renamed, node.output)
    for tensor in graph.initializer:
        tensor.name = renamed(tensor.name)
