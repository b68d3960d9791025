from itertools import islice

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from safetensors.torch import load_file

from unbraid.base_encoders.image_encoder import start_image_encoder
from unbraid.distill import train_drawings as stage
from unbraid.distill import train_image
from unbraid.distill.data.captioned_pictures import DRAWN, Picture, drawn_of, recipe_pictures
from unbraid.distill.data.captions import Captions
from unbraid.distill.image_batches import epoch_rows
from unbraid.distill.labels.label_shard import text_key
from unbraid.distill.recipe import DrawnKinds, ImageTraining, Recipe
from unbraid.distill.train_drawings import OF_A_KIND, REAL, batch_loss, drawing_batches, train_drawings
from unbraid.errors import DataError
from unbraid.runtime.preprocess import ImagePreprocess

KINDS = DrawnKinds({"table": 9, "page": 6}, steps=3, learning_rate=1e-2, average=0.1)
IMAGE = ImageTraining(tower="timm:test_efficientnet", size=32, drawings=5, batch=4, queue=8, second=KINDS)
RECIPE = Recipe("tiny", "1", 5, "fake", dtype="float32", image=IMAGE)


def some_pictures():
    rng = np.random.default_rng(0)
    sources = ["photos"] * 7 + [DRAWN] * 5
    made = [
        Picture(rng.integers(0, 255, (40, 30, 3), dtype=np.uint8), (f"picture {n}",), source, False)
        for n, source in enumerate(sources)
    ]
    return [*made, replace_dev(made[0]), *drawn_of(KINDS.kinds)]


def replace_dev(picture):
    return Picture(picture.pixels, ("held out",), "photos", True)


def captions_of(pictures):
    vectors = torch.nn.functional.normalize(
        torch.randn(len(pictures), 512, generator=torch.Generator().manual_seed(0)), dim=-1
    )
    return Captions(vectors, [[row] for row in range(len(pictures))], vectors)


def tiny_encoder():
    torch.manual_seed(1)
    preprocess = ImagePreprocess(32, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    return start_image_encoder(IMAGE.tower, dim=512, preprocess=preprocess)


def test_a_batch_has_real_pictures_first_and_many_of_two_kinds():
    pictures = some_pictures()
    for batch in drawing_batches(pictures, KINDS, 3):
        assert len(batch) == 64 and not any(pictures[row].dev for row in batch)
        assert {pictures[row].source for row in batch[:REAL]} == {"photos"}
        for start in (24, 24 + OF_A_KIND):
            assert len({pictures[row].kind for row in batch[start : start + OF_A_KIND]} - {""}) == 1
    assert drawing_batches(pictures, KINDS, 3) == drawing_batches(pictures, KINDS, 3)
    assert drawing_batches(pictures, KINDS, 3) != drawing_batches(pictures, KINDS, 4)


def test_every_row_comes_up_once_before_one_comes_up_again():
    order = list(islice(stage._rounds([3, 1, 2], 0, "these"), 9))
    assert all(sorted(order[start : start + 3]) == [1, 2, 3] for start in (0, 3, 6))


def test_a_stage_without_photographs_is_refused():
    with pytest.raises(DataError, match="no training pictures for real"):
        drawing_batches(list(drawn_of(KINDS.kinds)), KINDS, 0)


def test_drawings_of_kinds_are_as_many_as_asked_for_and_not_for_the_first_stage(tmp_path):
    pictures = recipe_pictures(IMAGE, tmp_path)
    kinds = [picture.kind for picture in pictures if picture.kind]
    assert kinds == ["table"] * 9 + ["page"] * 6
    assert len(epoch_rows(pictures, 0, 0)) == 5


@pytest.mark.parametrize("hold", [0.0, 6.0])
def test_the_loss_is_least_at_the_captions_and_at_what_is_held(hold):
    pictures = some_pictures()
    captions, config = captions_of(pictures), replace(KINDS, hold=hold)
    batch = drawing_batches(pictures, KINDS, 0)[0]
    held = {row: captions.targets[row] for row in batch}
    right = batch_loss(captions.targets[batch], batch, captions, captions.vectors, held, config)
    wrong = batch_loss(captions.targets[batch].roll(1, 0), batch, captions, captions.vectors, held, config)
    assert right < wrong
    held = {row: -captions.targets[row] for row in batch}
    moved = batch_loss(captions.targets[batch], batch, captions, captions.vectors, held, config)
    assert moved - right == pytest.approx(2 * hold, abs=1e-4)


def test_a_stage_changes_the_tower_and_an_interrupted_one_ends_with_the_same_weights(tmp_path, monkeypatch):
    pictures = some_pictures()
    captions = captions_of(pictures)
    monkeypatch.setattr(stage, "MEASURE_EVERY", 1)

    def run(checkpoint, measure):
        encoder = tiny_encoder()
        curves = train_drawings(encoder, pictures, captions, RECIPE, checkpoint, measure=measure)
        return encoder.state_dict(), curves

    def recall(*_):
        return {"photos": 0.5}

    whole, curves = run(tmp_path / "a.pt", recall)
    assert (len(curves["second loss"]), curves["second dev recall@10"]) == (3, [0.5] * 3)
    assert not torch.equal(whole["projection.weight"], tiny_encoder().state_dict()["projection.weight"])
    calls = []

    def stop(*_):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return {"photos": 0.5}

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b.pt", stop)
    resumed, _ = run(tmp_path / "b.pt", recall)
    # The vectors that are held are worked out anew by the tower of the start, so they are the same.
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_the_pipeline_runs_both_stages(tmp_path):
    pictures = some_pictures()
    stored = {stage_key(text): vector for text, vector in unit_vectors(pictures)}
    made = replace(RECIPE, image=replace(IMAGE, epochs=1))
    train_image.fit_image(tiny_encoder(), pictures, stored, made, tmp_path, captions_by="these")
    assert load_file(tmp_path / "image" / "image.safetensors")
    assert {path.name for path in tmp_path.iterdir()} == {"image"}
    assert "second loss" in (tmp_path / "image" / "record.json").read_text()


def stage_key(text):
    return text_key("text", text)


def unit_vectors(pictures):
    rng = np.random.default_rng(2)
    for text in {caption for picture in pictures for caption in picture.captions}:
        vector = rng.standard_normal(512).astype(np.float32)
        yield text, vector / np.linalg.norm(vector)
