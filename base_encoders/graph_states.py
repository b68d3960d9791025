"""The last token states of an exported text encoder, which its graph computes and does not give."""

from pathlib import Path

from unbraid.errors import DataError
from unbraid.runtime.onnx_session import Session, open_graph


def open_with_states(encoder: Path) -> tuple[Session, str]:
    """The graph `encoder` with its last token states [B, T, width] as one more output, and the output's name."""
    import onnx

    name = last_states(encoder)
    part = onnx.ModelProto()
    part.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    return open_graph(encoder, head=part.SerializeToString()), name


def last_states(encoder: Path) -> str:
    """The name of the last token states in the graph of a text encoder. Raises DataError where it is no fused BERT-type."""
    import onnx

    nodes = onnx.load(encoder, load_external_data=False).graph.node
    names: list[str] = [node.output[0] for node in nodes if node.op_type == "SkipLayerNormalization"]
    if not names:
        raise DataError(f"{encoder}: no layer normalization that ends a layer: not a fused BERT-type graph")
    return names[-1]
