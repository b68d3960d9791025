"""The graph of an adopted image encoder, compared with the model's own library."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unbraid.adopt.models import ImageModel
from unbraid.export.onnx_graphs import export_image
from unbraid.export.parity import Parity, compare
from unbraid.export.parity_samples import image_cases


def write_image_graphs(image: ImageModel, folder: Path) -> tuple[dict[str, Any], list[Parity]]:
    """Write the graph of `image` to `folder`: its entry in bundle.json, and its parity."""
    path, size = folder / "image.fp32.onnx", image.preprocess.size
    export_image(image.encoder, path, size)
    parity = compare(image.encoder, path, ["pixel_values"], image_cases(size), "base_vector")
    tensors = sorted(
        hashlib.sha256(one.numpy().tobytes()).hexdigest() for one in image.encoder.state_dict().values()
    )
    about = json.dumps([tensors, asdict(image.preprocess)], sort_keys=True)
    entry = {
        "id": hashlib.sha256(about.encode()).hexdigest()[:16],
        "graphs": {"fp32": path.name},
        **asdict(image.preprocess),
    }
    return entry, [parity]
