"""Pictures to base vectors with onnxruntime: decode safely, preprocess, run."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from unbraid.bundle import ImageSpec
from unbraid.runtime.batching import run_batches
from unbraid.runtime.onnx_session import open_graph, pick_graph, run_graph

BATCH = 8  # pictures in one run: decoding, not the graph, takes most of the time


class ImageRuntime:
    """The image encoder of a bundle, ready to run."""

    def __init__(self, folder: Path, spec: ImageSpec, precision: str | None) -> None:
        """Open the graph. Raises BundleError when it cannot be opened."""
        self.preprocess = spec.preprocess
        pixels = (None, 3, spec.preprocess.size, spec.preprocess.size)
        self.session = open_graph(
            folder / pick_graph(spec.graphs, precision), {"pixel_values": pixels}, ["base_vector"]
        )

    def encode(
        self, pictures: Sequence[Path | Image.Image], *, threads: int, progress: bool | None
    ) -> np.ndarray:
        """Base vectors float32 [n, dim] of pictures, in order. Raises ImageError that names the one not decoded."""

        def run(start: int) -> np.ndarray:
            pixels = np.stack([self.preprocess.load(one) for one in pictures[start : start + BATCH]])
            return run_graph(self.session, "base_vector", {"pixel_values": pixels})

        starts = range(0, len(pictures), BATCH)
        return np.concatenate(run_batches(run, starts, "encode images", threads=threads, progress=progress))
