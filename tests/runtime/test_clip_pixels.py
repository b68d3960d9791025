"""Pixels as CLIP and SigLIP models take them, against the processors of open_clip and transformers."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from unbraid.bundle import _preprocess, preprocess_entries
from unbraid.runtime.preprocess import LONG, ImagePreprocess

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
CROP = ImagePreprocess(32, MEAN, STD, method="crop")
side = st.integers(1, 160)


def noise(width, height):
    pixels = np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def open_clip_pixels(steps, image):
    from open_clip.transform import image_transform

    mode = {"crop": "shortest", "pad": "longest", "squash": "squash"}[steps.method]
    transform = image_transform(
        steps.size,
        is_train=False,
        mean=steps.mean,
        std=steps.std,
        resize_mode=mode,
        interpolation=steps.interpolation,
        fill_color=steps.fill,
    )
    return transform(image).numpy()


def transformers_pixels(steps, image):
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    crop = steps.method == "crop"
    size = steps.resize or steps.size
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": size} if crop else {"height": size, "width": size},
        do_center_crop=crop,
        crop_size={"height": steps.size, "width": steps.size},
        resample={"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3}[steps.interpolation],
        image_mean=steps.mean,
        image_std=steps.std,
    )
    return processor(image, return_tensors="np")["pixel_values"][0]


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize(("method", "fill"), [("crop", 0), ("squash", 0), ("pad", 0), ("pad", 127)])
@settings(max_examples=20)
@given(width=side, height=side)
@example(width=67, height=32)  # half a pixel at each end of the crop
@example(width=32, height=35)
@example(width=1, height=1)
def test_pixels_are_those_of_open_clip(method, fill, interpolation, width, height):
    steps = replace(CROP, method=method, fill=fill, interpolation=interpolation)
    image = noise(width, height)
    if method == "pad" and max(width, height) > 60 * min(width, height):
        return  # open_clip resizes to no pixels, and fails
    if method == "crop" and max(width, height) > LONG * min(width, height):
        return
    np.testing.assert_array_equal(steps(image), open_clip_pixels(steps, image))


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "lanczos", "nearest"])
@pytest.mark.parametrize(("method", "resize"), [("crop", None), ("crop", 37), ("squash", None)])
@settings(max_examples=20)
@given(width=side, height=side)
@example(width=67, height=32)
@example(width=32, height=35)
def test_pixels_are_those_of_transformers(method, resize, interpolation, width, height):
    steps = replace(CROP, method=method, resize=resize, interpolation=interpolation, offset="floor")
    image = noise(width, height)
    if max(width, height) > LONG * min(width, height):
        return
    np.testing.assert_allclose(steps(image), transformers_pixels(steps, image), atol=1e-6)


@pytest.mark.parametrize("method", ["crop", "pad", "squash"])
@pytest.mark.parametrize("shape", [(1, 65_535), (65_535, 1), (1, 1), (3, 4_000)])
def test_extreme_shapes_take_little_memory(method, shape, monkeypatch):
    made = []
    resize = Image.Image.resize
    monkeypatch.setattr(
        Image.Image,
        "resize",
        lambda self, size, *rest, **named: made.append(size) or resize(self, size, *rest, **named),
    )
    found = replace(CROP, method=method)(Image.new("RGB", shape, (200, 10, 10)))
    assert found.shape == (3, 32, 32) and np.isfinite(found).all()
    assert all(width * height <= LONG * 32 * 32 for width, height in made)


def test_the_middle_of_a_long_picture_is_what_a_whole_resize_would_keep():
    image = Image.new("RGB", (400, 4), (255, 0, 0))
    image.paste((0, 255, 0), (190, 0, 210, 4))
    found = CROP(image).transpose(1, 2, 0)
    assert (found.argmax(axis=-1) == 1).all()


def test_a_jpeg_is_not_decoded_smaller_where_pixels_must_be_exact(tmp_path):
    path = tmp_path / "large.jpg"
    noise(600, 400).save(path, quality=95)
    with Image.open(path) as image:
        np.testing.assert_array_equal(CROP.load(path), CROP(image.convert("RGB")))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("method", "stretch"),
        ("interpolation", "cubic"),
        ("offset", "ceil"),
        ("resize", 31),
        ("resize", 1 << 20),
        ("fill", 256),
    ],
)
def test_steps_that_are_not_known_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        replace(CROP, **{field: value})


@pytest.mark.parametrize("method", ["fit", "pad", "crop", "squash"])
def test_steps_survive_the_manifest(method):
    steps = replace(CROP, method=method)
    assert _preprocess(json.loads(json.dumps(preprocess_entries(steps)))) == steps


def test_versions_of_before_refuse_what_they_would_prepare_otherwise():
    """They read `size`, `mean` and `std`, and would fit every picture into a square."""
    assert set(preprocess_entries(replace(CROP, method="fit"))) == {"size", "mean", "std"}
    assert "size" not in preprocess_entries(CROP)


def test_an_entry_with_an_unknown_step_is_refused():
    with pytest.raises(TypeError):
        _preprocess({"preprocess": {**asdict(CROP), "sharpen": 1}})
