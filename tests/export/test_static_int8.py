"""The image tower in int8."""

import shutil

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from unbraid.base_encoders.image_encoder import start_image_encoder
from unbraid.base_encoders.sample_pictures import load_samples, save_samples
from unbraid.export import bundle_writer
from unbraid.export.onnx_graphs import export_image
from unbraid.export.parity import ParityError, compare
from unbraid.export.static_int8 import is_convolutional, quantize_tower
from unbraid.runtime import onnx_session
from unbraid.runtime.onnx_session import open_graph, run_graph
from unbraid.runtime.preprocess import ImagePreprocess
from unbraid.training.torchvision_shim import ensure_torchvision

ensure_torchvision()

PREPROCESS = ImagePreprocess(32, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def vectors_of(path, pixels):
    return run_graph(open_graph(path), "base_vector", {"pixel_values": pixels.numpy()})


def pictures_of(count, seed):
    """Smooth pictures [count, 3, 32, 32] as a tower takes them."""
    small = torch.randn(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(small, (32, 32), mode="bicubic")


def test_an_int8_tower_keeps_the_vectors_whatever_stands_beside_a_picture(tmp_path):
    torch.manual_seed(0)
    encoder = start_image_encoder("timm:test_efficientnet", dim=24, preprocess=PREPROCESS).eval()
    exact, int8 = tmp_path / "image.fp32.onnx", tmp_path / "image.int8.onnx"
    export_image(encoder, exact, 32)
    assert is_convolutional(exact)
    quantize_tower(exact, int8, [pictures_of(8, seed).numpy() for seed in range(3)])
    pixels = pictures_of(6, 9)
    found = vectors_of(int8, pixels)
    with torch.inference_mode():
        assert (found * encoder(pixels).numpy()).sum(1).mean() > 0.99
    alone = [vectors_of(int8, pixels[row : row + 1])[0] for row in range(6)]
    np.testing.assert_array_equal(found, np.stack(alone))
    weights = [one for one in onnx.load(int8).graph.initializer if one.name.endswith("_quantized")]
    assert {one.data_type for one in weights if len(one.dims) == 4} == {onnx.TensorProto.INT8}


@pytest.mark.parametrize(("name", "expected"), [("timm:test_efficientnet", True), ("timm:test_vit", False)])
def test_a_tower_with_attention_is_not_convolutional(name, expected, tmp_path):
    encoder = start_image_encoder(name, dim=24, preprocess=PREPROCESS).eval()
    export_image(encoder, tmp_path / "tower.onnx", 32)
    assert is_convolutional(tmp_path / "tower.onnx") == expected


def test_samples_come_back_as_a_tower_takes_them(tmp_path):
    assert load_samples(tmp_path, PREPROCESS) is None
    pictures = [np.full((40, 20 + n, 3), 100 + n, np.uint8) for n in range(12)]
    save_samples(tmp_path, pictures)
    found = load_samples(tmp_path, PREPROCESS)
    expected = np.stack([PREPROCESS(Image.fromarray(one)) for one in pictures])
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("precisions", "samples", "expected"),
    [
        (["int8"], True, ["int8"]),
        (["int8", "fp32"], True, ["int8", "fp32"]),
        (["fp32", "int8"], True, ["fp32", "int8"]),
        (["fp32"], True, ["fp32"]),
        (["int8"], False, ["fp32"]),
    ],
)
def test_a_tower_is_exported_in_the_precisions_asked_for_or_else_in_fp32(
    tiny, tmp_path, precisions, samples, expected
):
    run = tmp_path / "run"
    shutil.copytree(tiny.run / "image", run / "image")
    if samples:
        fields = (np.clip(127 + 60 * pictures_of(96, 1).numpy(), 0, 255)).astype(np.uint8)
        save_samples(run / "image", list(fields.transpose(0, 2, 3, 1)))
    out = tmp_path / "out"
    out.mkdir()
    entry, parities = bundle_writer._image(run, out, precisions)
    assert list(entry["graphs"]) == expected
    assert {one.graph for one in parities} == {path.name for path in out.iterdir()}


def test_an_int8_tower_that_loses_too_much_is_left_out_with_a_warning(tiny, tmp_path, monkeypatch):
    run = tmp_path / "run"
    shutil.copytree(tiny.run / "image", run / "image")
    rng = np.random.default_rng(0)
    save_samples(run / "image", [rng.integers(0, 255, (32, 32, 3), dtype=np.uint8) for _ in range(96)])

    def lose(module, path, *rest, **named):
        if "int8" in path.name:
            raise ParityError(f"{path}: differs")
        return compare(module, path, *rest, **named)

    monkeypatch.setattr(bundle_writer, "compare", lose)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.warns(UserWarning, match="stays in fp32"):
        entry, _ = bundle_writer._image(run, out, ["int8"])
    assert list(entry["graphs"]) == ["fp32"] and [path.name for path in out.iterdir()] == ["image.fp32.onnx"]


def test_int8_products_are_exact_on_every_cpu(tmp_path, monkeypatch):
    """The kernels for CPUs that would cut a sum at 16 bits give what those of other CPUs give."""
    torch.manual_seed(0)
    encoder = start_image_encoder("timm:test_efficientnet", dim=24, preprocess=PREPROCESS).eval()
    export_image(encoder, tmp_path / "exact.onnx", 32)
    quantize_tower(tmp_path / "exact.onnx", tmp_path / "int8.onnx", [pictures_of(8, 0).numpy()])
    pixels = pictures_of(2, 9)
    monkeypatch.setattr(onnx_session, "_adds_in_32_bits", lambda: False)
    slow = vectors_of(tmp_path / "int8.onnx", pixels)
    with torch.inference_mode():
        assert (slow * encoder(pixels).numpy()).sum(1).mean() > 0.99
    monkeypatch.undo()
    if onnx_session._adds_in_32_bits():
        np.testing.assert_array_equal(slow, vectors_of(tmp_path / "int8.onnx", pixels))
