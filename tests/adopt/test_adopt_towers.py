"""A CLIP-type model as a bundle: both towers, and a search over texts and pictures."""

import json

import numpy as np
import pytest
import torch

import unbraid
from unbraid.adopt import adopt
from unbraid.adopt.image_graphs import sample_pictures, write_image_graphs
from unbraid.adopt.models import ImageModel
from unbraid.adopt.usual_cosines import relevance_of
from unbraid.errors import AdoptError
from unbraid.runtime.preprocess import ImagePreprocess
from unbraid.vectors import normalize

STEPS = ImagePreprocess(8, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), method="squash")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny open_clip model in the layout of its hub."""
    from open_clip import CLIP
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("clip")
    config = {
        "embed_dim": 24,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    }
    torch.manual_seed(0)
    model = CLIP(**config)
    for weight in model.parameters():
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, std=0.1)
    save_file(
        {key: one.contiguous() for key, one in model.state_dict().items()},
        folder / "open_clip_model.safetensors",
    )
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# A model\n")
    return folder


@pytest.fixture(scope="module")
def bundle(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "bundle"
    adopt(folder, out)
    return out


def test_both_towers_give_the_vectors_of_open_clip(folder, bundle):
    import open_clip

    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    reads = open_clip.get_tokenizer(f"local-dir:{folder}")
    ours = unbraid.load(bundle, precision="fp32", threads=1)
    assert ours.modalities == ("text", "code", "image")
    texts, pictures = ["a red house", "", "It's the MOON &amp; more"], sample_pictures(3)
    with torch.inference_mode():
        of_texts = model.eval().encode_text(reads(texts), normalize=True).numpy()
        of_pictures = model.encode_image(
            torch.stack([transform(one) for one in pictures]), normalize=True
        ).numpy()
    np.testing.assert_allclose(ours.encode(texts), of_texts, atol=1e-5)
    np.testing.assert_allclose(ours.encode(pictures), of_pictures, atol=1e-5)


def test_texts_and_pictures_lie_in_one_index(bundle, tmp_path):
    model = unbraid.load(bundle, threads=1)
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "notes.txt").write_text("The house is red and the moon is bright.")
    for number, picture in enumerate(sample_pictures(4)):
        picture.save(tmp_path / "files" / f"{number}.png")
    with unbraid.open_index(tmp_path / "index", model=model) as index:
        index.add([tmp_path / "files"])
        own = tmp_path / "files" / "2.png"
        assert next(iter(index.search(own))).path == str(own)
        found = {hit.modality for hit in index.search("a bright moon over a house", k=10)}
    assert "image" in found


def test_the_licence_and_the_pixels_are_in_the_manifest(bundle):
    about = json.loads((bundle / "bundle.json").read_text())
    assert list(about["licences"].values()) == ["mit"]
    assert about["modalities"]["image"]["preprocess"]["method"] == "crop"
    assert {"mean", "spread", "picture"} <= about["relevance"].keys()


def test_a_picture_as_far_above_usual_as_a_text_counts_the_same():
    rng = np.random.default_rng(0)
    queries, documents = (normalize(rng.standard_normal((200, 16)) + 1) for _ in range(2))
    pictures = normalize(rng.standard_normal((200, 16)) * 0.5 - 1)  # a cone of their own
    about = relevance_of(queries, documents, pictures)
    slope, constant = about["picture"]
    of_pictures = queries @ pictures.T
    counted = slope * of_pictures + constant
    assert counted.mean() == pytest.approx(about["mean"], abs=1e-6)
    assert counted.std() == pytest.approx(about["spread"], abs=1e-6)


def test_pictures_that_all_look_the_same_to_a_model_count_as_they_are():
    one = normalize(np.ones((5, 4), np.float32))
    assert relevance_of(one, one, one)["picture"] == (1.0, 0.0)


# -- the image encoder alone ---------------------------------------------------------------------------------


class Tower(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(192, 16)

    def forward(self, pixels):
        return torch.nn.functional.normalize(self.layer(pixels.flatten(1)), dim=-1)


def image_model(tower, steps=STEPS, **changed):
    def original(pictures):
        with torch.inference_mode():
            return tower(torch.from_numpy(np.stack([steps(one) for one in pictures]))).numpy()

    return ImageModel(
        tower, changed.get("preprocess", steps), 16, changed.get("original", original), {"a": 1}
    )


def test_int8_is_offered_where_it_keeps_the_neighbours(tmp_path):
    made = write_image_graphs(image_model(Tower()), tmp_path, sample_pictures(16))
    assert list(made.entry["graphs"]) == ["int8", "fp32"]
    assert made.agreement == made.tried >= 0.95
    assert {one.graph for one in made.parities} == {"image.fp32.onnx", "image.int8.onnx"}


def test_int8_that_loses_neighbours_is_not_offered(tmp_path, monkeypatch):
    monkeypatch.setattr("unbraid.adopt.image_graphs.agreement", lambda *_: 0.94)
    made = write_image_graphs(image_model(Tower()), tmp_path, sample_pictures(8))
    assert made.agreement is None and made.tried == 0.94
    assert list(made.entry["graphs"]) == ["fp32"] and not (tmp_path / "image.int8.onnx").exists()


def test_other_pixels_are_refused_by_name(tmp_path):
    wrong = image_model(Tower(), preprocess=ImagePreprocess(8, (0.5,) * 3, (0.5,) * 3, method="crop"))
    with pytest.raises(AdoptError, match="pixels"):
        write_image_graphs(wrong, tmp_path, sample_pictures(8))


def test_a_tower_that_no_graph_can_hold_is_refused(tmp_path):
    class Odd(Tower):
        def forward(self, pixels):
            return super().forward(torch.special.bessel_j0(pixels))

    with pytest.raises(AdoptError, match="ONNX"):
        write_image_graphs(image_model(Odd()), tmp_path, sample_pictures(4))


@pytest.mark.parametrize(
    "change",
    [{"mean": (0.4, 0.5, 0.5)}, {"method": "pad"}, {"interpolation": "bilinear"}, {"offset": "floor"}],
)
def test_the_id_covers_pixels(change, tmp_path):
    from dataclasses import replace

    pictures = sample_pictures(4)
    tower = Tower()
    first = write_image_graphs(image_model(tower), tmp_path, pictures)
    second = write_image_graphs(image_model(tower, replace(STEPS, **change)), tmp_path, pictures)
    assert first.entry["id"] != second.entry["id"]
