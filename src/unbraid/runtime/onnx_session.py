"""Open and run one ONNX graph of a verified bundle."""

import os
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TypeAlias

import numpy as np

from unbraid.errors import BundleError

# From 1.29 on, onnxruntime reports sessions and models to its makers unless this is set before it is loaded (see its
# Privacy.md).
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime

Session: TypeAlias = onnxruntime.InferenceSession


def pick_graph(graphs: Mapping[str, str], precision: str | None) -> str:
    """The graph file of `precision` if there is one; otherwise the bundle's default, which is the first."""
    return graphs.get(precision or "", next(iter(graphs.values())))


def open_graph(
    path: Path,
    inputs: Mapping[str, tuple[int | None, ...]] | None = None,
    outputs: Collection[str] = (),
    *,
    head: bytes = b"",
) -> Session:
    """A session of one thread; parallel work runs several batches at once, which helps small batches more.

    `inputs` are the names and shapes that will be fed (None where a size varies), `outputs` the names that will be
    asked for. `head` holds further nodes and outputs of the graph. Raises BundleError when the graph has others, or when
    onnxruntime refuses the file.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # a failed run raises; onnxruntime need not print it too
    if not _adds_in_32_bits():
        options.add_session_config_entry("session.x64quantprecision", "1")
    try:
        # Two protobuf messages one behind the other are one message, whose lists of nodes are joined.
        graph = path.read_bytes() + head if head else str(path)
        session = Session(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises bare classes of its own, RuntimeError and more
        raise BundleError(f"{path}: onnxruntime {onnxruntime.__version__} cannot open it: {error}") from error
    if inputs is not None:
        takes = {one.name: _sizes(one.shape) for one in session.get_inputs()}
        gives = {one.name for one in session.get_outputs()}
        if takes != dict(inputs) or not set(outputs) <= gives:
            raise BundleError(
                f"{path}: takes {takes} and gives {sorted(gives)}, expected {dict(inputs)} and {sorted(outputs)}: "
                "copy or export the bundle again"
            )
    return session


@cache
def _adds_in_32_bits() -> bool:
    """Whether this CPU is known to add products of int8 weights in 32 bits (VNNI).

    Other x86 CPUs cut the sum of two at 16, so onnxruntime is told to use uint8 kernels, exact but half as fast, where a
    weight has more than 7 bits: in an image tower, never in a text graph. The setting has no effect on other CPUs.
    """
    try:
        return "vnni" in Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return False


def output_shape(session: Session, output: str) -> tuple[int | None, ...]:
    """The shape of a named output, None where a size varies."""
    return next(_sizes(one.shape) for one in session.get_outputs() if one.name == output)


def _sizes(shape: Sequence[int | str | None]) -> tuple[int | None, ...]:
    return tuple(size if isinstance(size, int) else None for size in shape)


def run_graph(session: Session, output: str, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """The named output of one run."""
    (result,) = session.run([output], dict(inputs))
    array: np.ndarray = result
    return array
