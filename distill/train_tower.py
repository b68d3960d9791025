"""Train an image tower into the space of a finished bundle, from captioned pictures, without a teacher or labels.

The bundle's own text encoder, which is not trained, encodes the captions.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from PIL import Image
from torch import Tensor, nn

from unbraid.base_encoders.image_encoder import ImageEncoder, load_image_encoder
from unbraid.distill.data.captioned_pictures import recipe_pictures
from unbraid.distill.data.captions import distinct_captions
from unbraid.distill.labels.label_shard import text_key
from unbraid.distill.pipeline import finished
from unbraid.distill.recipe import Recipe
from unbraid.distill.train_image import fit_image, new_image_encoder
from unbraid.embedder import Embedder
from unbraid.errors import DataError
from unbraid.io.atomic import atomic_file
from unbraid.progress import track

SAMPLE = 256  # pictures that the batch normalizations of the bundle's tower are set by
BLOCK = 2048  # captions in a stored file: what an interruption costs


def train_tower(recipe: Recipe, data: Path, run: Path, model: Embedder) -> ImageEncoder:
    """Train the tower of `recipe` against the base vectors that `model` gives the captions; writes run/image.

    With `start = "bundle"` in the recipe the bundle's own tower is trained further. A finished tower is only loaded;
    interrupted training resumes from its last finished epoch. Raises DataError for a recipe that wants a teacher's
    vectors of pictures, for a bundle whose tower is not the recipe's, and as `fit_image` does.
    """
    config = recipe.image
    if finished(run / "image", recipe, ("seed", "image")):
        return load_image_encoder(run / "image")
    if config.own_vector:
        raise DataError("image.own_vector needs a teacher, and a tower is trained without one: leave it out")
    pictures = recipe_pictures(config, data)
    captions = encoded_captions(distinct_captions(pictures), run / "captions", model)
    encoder = new_image_encoder(recipe)
    if config.start == "bundle":
        image = model.bundle.image
        if image is None:
            raise DataError(
                f'{model.name} has no image tower to start from: leave out image.start = "bundle"'
            )
        if "fp32" not in image.graphs:
            raise DataError(
                f"{model.name} has its image tower in int8 only, which cannot be trained further: "
                "export a bundle with --precisions int8,fp32"
            )
        own = image.preprocess
        encoder.preprocess = replace(encoder.preprocess, mean=own.mean, std=own.std)
        some = [
            encoder.preprocess(Image.fromarray(one.pixels))
            for one in pictures[:: len(pictures) // SAMPLE + 1]
        ]
        start_from_graph(
            encoder, model.bundle.folder / image.graphs["fp32"], torch.from_numpy(np.stack(some))
        )
    return fit_image(encoder, pictures, captions, recipe, run, captions_by=model.bundle.text["text"].id)


def encoded_captions(captions: list[str], folder: Path, model: Embedder) -> Mapping[str, np.ndarray]:
    """Base vectors float32 [512] of `captions` by key, as the bundle encodes a text.

    They are stored in `folder`, a file a block; stored ones are not encoded again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stored: dict[str, np.ndarray] = {}
    made_by = model.bundle.text["text"].id
    for start in track(range(0, len(captions), BLOCK), "encode captions", unit="blocks"):
        block = captions[start : start + BLOCK]
        keys = [text_key("text", caption) for caption in block]
        path = folder / f"{hashlib.sha256(' '.join([made_by, *keys]).encode()).hexdigest()[:16]}.npy"
        if not path.exists():
            with atomic_file(path) as unfinished, unfinished.open("wb") as file:
                np.save(file, model.encode(block, on_truncate="ignore", progress=False))
        stored |= zip(keys, np.load(path), strict=True)
    return stored


def start_from_graph(encoder: ImageEncoder, path: Path, pixels: Tensor) -> None:
    """Give a convolutional `encoder` the weights of the image graph at `path`, to train it further.

    The graph has batch normalization folded into its convolutions. Each normalization gets the statistics of `pixels`
    float32 [B, 3, size, size] at its place and a scale and shift that undo them, so that it changes nothing at first.
    Raises DataError when the graph is of another tower.
    """
    graph = onnx.load(path).graph
    arrays = {one.name: numpy_helper.to_array(one).astype(np.float32) for one in graph.initializer}
    for node in graph.node:  # stored in float16, or once for two that are equal
        if node.op_type in {"Cast", "Identity"} and node.input[0] in arrays:
            arrays[node.output[0]] = arrays[node.input[0]]
    folded = [
        [torch.from_numpy(arrays[name].copy()) for name in node.input[1:]]
        for node in graph.node
        if node.op_type == "Conv"
    ]
    ran = _in_order(encoder, pixels[:1])
    convolutions = [number for number, module in enumerate(ran) if isinstance(module, nn.Conv2d)]
    shapes = [tuple(ran[number].weight.shape) for number in convolutions]
    if shapes != [tuple(weights[0].shape) for weights in folded]:
        raise DataError(
            f"{path}: not a graph of {encoder.name}: its {len(folded)} convolutions have other shapes"
        )
    handles = []
    for number, (weight, *rest) in zip(convolutions, folded, strict=True):
        convolution, after = ran[number], ran[number + 1] if number + 1 < len(ran) else None
        bias = rest[0] if rest else torch.zeros(len(weight))
        convolution.weight.data.copy_(weight)
        if convolution.bias is not None:
            convolution.bias.data.copy_(bias)
        elif isinstance(after, nn.BatchNorm2d):
            handles.append(after.register_forward_pre_hook(partial(_undo, bias)))
        elif bias.any():
            raise DataError(f"{path}: not a graph of {encoder.name}: convolution {number} has a bias there")
    encoder.projection.weight.data.copy_(torch.from_numpy(arrays["projection.weight"].copy()))
    encoder.projection.bias.data.copy_(torch.from_numpy(arrays["projection.bias"].copy()))
    encoder.mean.copy_(torch.from_numpy(arrays["mean"].copy()))
    with torch.inference_mode():
        encoder.eval()(pixels)
    for handle in handles:
        handle.remove()


def _in_order(encoder: ImageEncoder, pixels: Tensor) -> list[Any]:
    """The convolutions and batch normalizations of `encoder` as they run."""
    ran: list[Any] = []
    kinds = (nn.Conv2d, nn.BatchNorm2d)
    found = [module for module in encoder.modules() if isinstance(module, kinds)]
    handles = [module.register_forward_hook(lambda module, *_: ran.append(module)) for module in found]
    with torch.inference_mode():
        encoder.eval()(pixels)
    for handle in handles:
        handle.remove()
    return ran


def _undo(bias: Tensor, norm: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
    """Set a batch normalization, before it sees `inputs`, to add `bias` to them and do no more."""
    variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3), correction=0)
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    norm.weight.data.copy_((variance + norm.eps).sqrt())
    norm.bias.data.copy_(bias + mean)
