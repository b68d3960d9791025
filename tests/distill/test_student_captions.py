import numpy as np
import torch
from PIL import Image

from unbraid.distill.data.captioned_pictures import Picture
from unbraid.distill.data.student_captions import student_captions
from unbraid.distill.labels.label_shard import text_key
from unbraid.distill.recipe import Recipe, TextTraining
from unbraid.distill.trained_students import load_students

RECIPE = Recipe("tiny", "1", 5, dtype="float32", text={"small": TextTraining()})


def test_captions_have_the_vectors_of_the_run_and_are_encoded_once(tiny, tmp_path, monkeypatch):
    (tmp_path / "small").symlink_to(tiny.run / "small")
    pixels = np.asarray(Image.new("RGB", (4, 4)))
    pictures = [
        Picture(pixels, captions, "photos", dev=False) for captions in (("the cat", "a house"), ("the cat",))
    ]
    found = student_captions(pictures, RECIPE, tmp_path)
    expected = load_students(RECIPE, tmp_path, dtype=torch.float32)["small"](
        ["the cat", "a house"], "text"
    ).numpy()
    assert set(found) == {text_key("text", "the cat"), text_key("text", "a house")}
    np.testing.assert_allclose(found[text_key("text", "a house")], expected[1], atol=1e-3)
    (stored,) = (tmp_path / "captions").iterdir()
    before = stored.stat().st_mtime_ns
    student_captions(pictures, RECIPE, tmp_path)
    assert stored.stat().st_mtime_ns == before
