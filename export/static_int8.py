"""A convolutional tower in int8, with the range of each activation measured once, on pictures.

Ranges that are worked out for each batch, as `quantize` has them for texts, cost a convolution more time than int8 saves, and
a picture's vector would depend on the pictures beside it.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

# Of attention. Its activations have a few far too large numbers, which one range does not serve.
NOT_CONVOLUTIONAL = {"Softmax", "LayerNormalization"}


def is_convolutional(graph: Path) -> bool:
    """Whether a graph has convolutions and no attention."""
    found = {node.op_type for node in onnx.load(graph, load_external_data=False).graph.node}
    return "Conv" in found and not found & NOT_CONVOLUTIONAL


def quantize_tower(source: Path, target: Path, batches: Sequence[NDArray[np.float32]]) -> None:
    """Write the graph `source` of an image tower in int8; `batches` [b, 3, size, size] are what it will be given.

    Weights have one scale a channel. They have all 8 bits, since 7 cost three points of recall (docs/experiments.md), and
    the runtime sees to CPUs that cut what does not fit (onnx_session.py). Memory: some 30 MB a picture.
    """
    with TemporaryDirectory() as folder:
        joined = Path(folder) / "joined.onnx"  # normalizations in the convolutions before them
        quant_pre_process(str(source), str(joined), skip_symbolic_shape=True)
        quantize_static(
            joined,
            target,
            _Batches(batches),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )


class _Batches:
    """What onnxruntime reads: a batch with each call, None at the end."""

    def __init__(self, batches: Sequence[NDArray[np.float32]]) -> None:
        self._left: Iterator[NDArray[np.float32]] = iter(batches)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        batch = next(self._left, None)
        return None if batch is None else {"pixel_values": batch}
