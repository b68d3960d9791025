"""Pictures to base vectors with onnxruntime: decode safely, preprocess, run."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from unbraid.bundle import ImageSpec
from unbraid.progress import track
from unbraid.runtime.onnx_session import open_checked, pick_graph, run_graph

BATCH = 8  # pictures in one run: decoding, not the graph, is most of the time


class ImageRuntime:
    """The image encoder of a bundle, ready to run."""

    def __init__(self, folder: Path, spec: ImageSpec, precision: str | None) -> None:
        """Open the graph. Raises BundleError when it cannot be opened."""
        self.preprocess = spec.preprocess
        pixels = (None, 3, spec.preprocess.size, spec.preprocess.size)
        self.session = open_checked(
            folder / pick_graph(spec.graphs, precision), {"pixel_values": pixels}, ["base_vector"]
        )

    def encode(
        self, pictures: Sequence[Path | Image.Image], *, threads: int, progress: bool | None
    ) -> np.ndarray:
        """Base vectors float32 [n, dim] of pictures, in order. Raises ImageError naming the one not decoded."""
        starts = range(0, len(pictures), BATCH)
        with ThreadPoolExecutor(threads) as pool:
            runs = pool.map(lambda start: self._run(pictures[start : start + BATCH]), starts)
            vectors = [
                result
                for _, result in zip(
                    track(starts, "encode images", unit="batches", shown=progress), runs, strict=True
                )
            ]
        return np.concatenate(vectors)

    def _run(self, pictures: Sequence[Path | Image.Image]) -> np.ndarray:
        pixels = np.stack([self.preprocess.load(picture) for picture in pictures])
        return run_graph(self.session, "base_vector", {"pixel_values": pixels})
