"""Parity of an exported graph with torch, measured for every graph and written beside it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unbraid.errors import UnbraidError
from unbraid.runtime.onnx_session import open_graph, run_graph

FP32_LIMIT = 1e-4  # largest absolute difference of any output number
ROUNDED_LIMIT = 0.99  # mean cosine over real inputs, of a graph with rounded weights


class ParityError(UnbraidError):
    """A graph's outputs differ from torch's by more than its limit."""


@dataclass(frozen=True)
class Parity:
    """How far a graph is from torch over `cases` input shapes."""

    graph: str
    cases: int
    largest_difference: float
    mean_cosine: float
    least_cosine: float


def compare(
    module: Callable[..., Tensor],
    path: Path,
    names: Sequence[str],
    cases: Sequence[tuple[Tensor, ...]],
    output: str,
    *,
    rounded: bool = False,
    head: Path | None = None,
) -> Parity:
    """Run `module` and the graph at `path` (inputs `names`, one `output`) on every case.

    `head` is appended to the graph, which then has its name. `rounded` is for graphs with int8 or float16 weights. Raises ParityError when a graph differs by more than 1e-4
    anywhere, or a rounded one has a mean cosine under 0.99.
    """
    session = open_graph(path, head=head.read_bytes() if head else b"")
    differences, cosines = [], []
    for case in cases:
        with torch.inference_mode():
            expected = module(*case).numpy()
        inputs = {name: tensor.numpy() for name, tensor in zip(names, case, strict=True)}
        found = run_graph(session, output, inputs)
        differences.append(float(np.abs(found - expected).max()))
        found, expected = (one.reshape(-1, one.shape[-1]) for one in (found, expected))
        lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
        cosines.extend(((found * expected).sum(1) / lengths).tolist())
    parity = Parity(
        (head or path).name, len(cases), max(differences), float(np.mean(cosines)), float(np.min(cosines))
    )
    if not (parity.mean_cosine >= ROUNDED_LIMIT if rounded else parity.largest_difference <= FP32_LIMIT):
        raise ParityError(
            f"{head or path}: differs from torch by {parity.largest_difference:.2g} (cosine {parity.mean_cosine:.4f}); "
            f"the limit is {f'mean cosine {ROUNDED_LIMIT}' if rounded else FP32_LIMIT}"
        )
    return parity
