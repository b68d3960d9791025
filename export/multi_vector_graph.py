"""A multi-vector head as a graph that is appended to its encoder's file (unbraid.bundle.MultiVectorSpec).

The head is exported and rounded like any module. Then its input becomes the encoder's tensor of last token states, every other
name gets a prefix of its own, and what the encoder's file says already (versions, inputs) is left out.
"""

from pathlib import Path
from typing import Any

import torch

from unbraid.base_encoders.graph_states import last_states
from unbraid.base_encoders.multi_vector_head import MultiVectorHead
from unbraid.export.onnx_graphs import export_module, quantize, store_in_half

OUTPUTS = ["multi_vectors", "weights"]
_STATES, _MASK, _PREFIX = "states", "attention_mask", "multi_vector."


def export_head(head: MultiVectorHead, encoder: Path, path: Path, *, int8: bool) -> None:
    """Write to `path` what, appended to the graph `encoder`, gives multi_vectors [B, T, dim] and weights [B, T].

    With `int8` products are rounded as an encoder's are; without, weights take float16 and the arithmetic is float32. Raises
    DataError as `last_states`.
    """
    import onnx

    states = last_states(encoder)
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
