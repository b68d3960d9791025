"""The graphs of an adopted image encoder: float32, compared with the model's own library, and int8 where it keeps enough."""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from unbraid.adopt.agreement import agreement
from unbraid.adopt.models import ImageModel
from unbraid.adopt.text_graphs import LEAST_AGREEMENT, SPANS
from unbraid.bundle import ImageSpec, preprocess_entries
from unbraid.distill.drawings import draw
from unbraid.errors import AdoptError
from unbraid.export.onnx_graphs import export_image, quantize
from unbraid.export.parity import FP32_LIMIT, Parity
from unbraid.export.static_int8 import is_convolutional, quantize_tower
from unbraid.runtime.image import ImageRuntime

PICTURES = 64  # drawings, of which half tell the ranges of a convolutional tower in int8
EXACT, ROUNDED = "image.fp32.onnx", "image.int8.onnx"


@dataclass(frozen=True)
class ImageGraphs:
    """What was written of an image encoder."""

    entry: Mapping[str, Any]  # in bundle.json
    parities: list[Parity]
    agreement: float | None  # of int8 with float32 on pictures; None where int8 is not offered
    tried: float  # the agreement of int8, offered or not
    vectors: np.ndarray  # float32 [n, dim] of the pictures, from the model's own library


def sample_pictures(count: int = PICTURES) -> list[Image.Image]:
    """Charts, tables, pages and scenes, drawn from seeds: the pictures that every machine has."""
    return [draw(seed).image for seed in range(count)]


def write_image_graphs(image: ImageModel, folder: Path, pictures: Sequence[Image.Image]) -> ImageGraphs:
    """Write the graphs of `image` to `folder`; they are measured on `pictures`, RGB.

    Raises AdoptError when the float32 graph does not give what the model's own library gives, and says what differs.
    """
    expected = image.original(pictures)
    size = image.preprocess.size
    try:
        export_image(image.encoder, folder / EXACT, size)
    except Exception as error:  # torch's exporter raises whatever the traced code does
        raise AdoptError(
            f"the image encoder cannot be written as an ONNX graph: {type(error).__name__}: {str(error)[:300]}"
        ) from error

    def run(file: str) -> np.ndarray:
        spec = ImageSpec("", {"graph": file}, image.preprocess)
        return ImageRuntime(folder, spec, None).encode(pictures, threads=2, progress=False)

    found = run(EXACT)
    if not np.abs(found - expected).max() <= FP32_LIMIT:
        raise AdoptError(_what_differs(image, pictures, found, expected))
    parities, tried = [_parity(EXACT, found, expected)], 0.0
    graphs = {"fp32": EXACT}
    for write in _int8_ways(image, folder, pictures):
        write()
        rounded = run(ROUNDED)
        tried = max(tried, agreement(expected, rounded))
        if tried >= LEAST_AGREEMENT:
            parities.append(_parity(ROUNDED, rounded, expected))
            graphs = {"int8": ROUNDED, "fp32": EXACT}
            break
    else:
        (folder / ROUNDED).unlink()
    entry = {"id": _identity(image), "graphs": graphs, **preprocess_entries(image.preprocess)}
    return ImageGraphs(entry, parities, tried if "int8" in graphs else None, tried, expected)


def _int8_ways(
    image: ImageModel, folder: Path, pictures: Sequence[Image.Image]
) -> Iterator[Callable[[], None]]:
    """The ways to write int8, the fastest first."""
    pixels = np.stack([image.preprocess(one) for one in pictures])
    exact, rounded = folder / EXACT, folder / ROUNDED
    if is_convolutional(exact):
        ranges = pixels[: len(pixels) // 2]
        yield lambda: _quietly(
            quantize_tower, exact, rounded, np.array_split(ranges, max(1, len(ranges) // 8))
        )
        return
    for span in SPANS:
        yield partial(_quietly, quantize, exact, rounded, [{"pixel_values": pixels[:4]}], span)


def _quietly(write: Callable[..., None], *arguments: Any) -> None:
    """Run `write` without onnxruntime's advice to take a step that is not needed. Any: of two functions."""
    logging.disable(logging.WARNING)
    try:
        write(*arguments)
    finally:
        logging.disable(logging.NOTSET)


def _what_differs(
    image: ImageModel, pictures: Sequence[Image.Image], found: np.ndarray, expected: np.ndarray
) -> str:
    """One sentence: whether the encoder in torch or only its graph differs from the model's own library."""
    import torch

    worst = int(np.abs(found - expected).max(1).argmax())
    pixels = torch.from_numpy(image.preprocess(pictures[worst])[None])
    with torch.inference_mode():
        difference = float(np.abs(image.encoder(pixels).numpy()[0] - expected[worst]).max())
    if not difference <= FP32_LIMIT:
        return (
            f"the pixels or the image encoder, as they were read, differ from the model's own library by {difference:.2g} "
            f"(limit {FP32_LIMIT}): {image.preprocess}"
        )
    return f"the graph of the image encoder differs from the model by more than {FP32_LIMIT}"


def _identity(image: ImageModel) -> str:
    """Short hash of all that decides a vector: weights, pixels, and what the reader says."""
    tensors = sorted(
        hashlib.sha256(f"{one.dtype} {list(one.shape)}".encode() + one.numpy().tobytes()).hexdigest()
        for one in image.encoder.state_dict().values()
    )
    about = json.dumps([tensors, asdict(image.preprocess), dict(image.about)], sort_keys=True)
    return hashlib.sha256(about.encode()).hexdigest()[:16]


def _parity(graph: str, found: np.ndarray, expected: np.ndarray) -> Parity:
    cosines = (found * expected).sum(1)
    return Parity(
        graph, len(found), float(np.abs(found - expected).max()), float(cosines.mean()), float(cosines.min())
    )
