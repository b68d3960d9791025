"""Train a new image tower into the space of a finished bundle: no teacher and no labels, only captioned pictures.

The captions are encoded by the bundle's own text encoder, as queries will be; nothing of it is trained.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from unbraid.base_encoders.image import ImageEncoder, load_image_encoder
from unbraid.distill.data.captioned_pictures import recipe_pictures
from unbraid.distill.data.captions import distinct_captions
from unbraid.distill.from_bundle import start_from_graph
from unbraid.distill.labels.label_shard import text_key
from unbraid.distill.pipeline import finished
from unbraid.distill.recipe import Recipe
from unbraid.distill.train_image import fit_image, new_image_encoder
from unbraid.embedder import Embedder
from unbraid.errors import DataError
from unbraid.progress import track

SAMPLE = 256  # pictures that show a tower's layers what they will see
BLOCK = 2048  # captions in a file of the store: what an interruption costs


def train_tower(recipe: Recipe, data: Path, run: Path, model: Embedder) -> ImageEncoder:
    """Train the tower of `recipe` against the base vectors that `model` gives the captions; writes run/image, once.

    With `start = "bundle"` in the recipe the bundle's own tower is trained further. Interrupted training goes on from
    its last finished epoch. Raises DataError for a recipe that asks for a teacher's vectors of pictures, for a bundle
    whose tower is not the recipe's where it should go on from it, and as `fit_image` does.
    """
    config = recipe.image
    if finished(run / "image", recipe, ("seed", "image")):
        return load_image_encoder(run / "image")
    if config.own_vector:
        raise DataError("image.own_vector is a teacher's, and a tower is trained without one: leave it out")
    pictures = recipe_pictures(config, data)
    captions = encoded_captions(distinct_captions(pictures), run / "captions", model)
    encoder = new_image_encoder(recipe)
    if config.start == "bundle":
        image = model.bundle.image
        if image is None:
            raise DataError(
                f'{model.name} has no image tower to start from: leave out image.start = "bundle"'
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

    They are kept in `folder`, a file a block, and those that are there are not encoded again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stored: dict[str, np.ndarray] = {}
    made_by = model.bundle.text["text"].id
    for start in track(range(0, len(captions), BLOCK), "encode captions", unit="blocks"):
        block = captions[start : start + BLOCK]
        keys = [text_key("text", caption) for caption in block]
        path = folder / f"{hashlib.sha256(' '.join([made_by, *keys]).encode()).hexdigest()[:16]}.npy"
        if not path.exists():
            partial = path.with_suffix(".tmp")
            with partial.open("wb") as file:
                np.save(file, model.encode(block, on_truncate="ignore", progress=False))
            partial.replace(path)
        stored |= zip(keys, np.load(path), strict=True)
    return stored
