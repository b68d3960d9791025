"""A bundle's tower in another text space, on the tiny bundle and pictures of one colour."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec import structs
from PIL import Image

from unbraid.base_encoders.image_encoder import load_image_encoder
from unbraid.distill import refit_tower as stage
from unbraid.distill.data.captioned_pictures import Picture
from unbraid.distill.recipe import ImageTraining, TextTraining, read_recipe
from unbraid.distill.trained_students import load_students
from unbraid.errors import DataError

WORDS = "cat dog house river moon vector model code".split()


def pictures():
    """Eight colours, each with a word; the last two of every eight are kept out of training."""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 255, (8, 3))
    found = []
    for number in range(48):
        noise = rng.integers(0, 20, (24, 24, 3))
        pixels = np.clip(colours[number % 8] + noise, 0, 255).astype(np.uint8)
        found.append(Picture(pixels, (f"the {WORDS[number % 8]}",), "photos", dev=number >= 40))
    return found


@pytest.fixture
def run(tiny, tmp_path):
    for tier in ("small", "nano"):
        shutil.copytree(tiny.run / tier, tmp_path / tier)
    return tmp_path


@pytest.fixture
def recipe():
    image = ImageTraining(tower="timm:test_efficientnet")
    return structs.replace(
        read_recipe(Path("starter")), dtype="float32", text={"small": TextTraining()}, nano=None, image=image
    )


def test_the_tower_lands_beside_the_captions_of_the_new_space(run, recipe, tiny, monkeypatch):
    monkeypatch.setattr(stage, "recipe_pictures", lambda config, data: pictures())
    before = load_image_encoder(tiny.run / "image")
    recalls = stage.refit_tower(recipe, tiny.bundle, run, run)
    assert list(recalls) == ["photos (8)"] and 0 <= recalls["photos (8)"] <= 1
    after = load_image_encoder(run / "image")
    assert after.preprocess == before.preprocess
    texts = [one.captions[0] for one in pictures()]
    target = load_students(recipe, run, dtype=torch.float32)["small"](texts, "text")
    pixels = torch.from_numpy(np.stack([after.preprocess(Image.fromarray(one.pixels)) for one in pictures()]))
    with torch.no_grad():
        near, far = (float((encoder(pixels) * target).sum(1).mean()) for encoder in (after, before))
    assert near > far + 0.2
    record = json.loads((run / "image" / "record.json").read_text())
    bundle = json.loads((tiny.bundle / "bundle.json").read_text())
    assert record["results"]["tower of"] == bundle["id"]


def test_a_bundle_without_a_tower_is_refused_by_name(run, recipe, tiny, tmp_path):
    from unbraid.export import export_bundle

    bare = tmp_path / "bare"
    shutil.copytree(tiny.run, bare, ignore=shutil.ignore_patterns("image"))
    export_bundle(bare, tmp_path / "bundle", precisions=("fp32",))
    with pytest.raises(DataError, match="bundle: has no image tower"):
        stage.refit_tower(recipe, tmp_path / "bundle", run, run)
