import gzip
import io
import json
import random
import tarfile
from types import MappingProxyType

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from PIL import Image
from safetensors.torch import load_file

from unbraid.base_encoders.image_encoder import load_image_encoder, start_image_encoder
from unbraid.distill import train_image as stage
from unbraid.distill.data import captioned_pictures as picture_files
from unbraid.distill.data.captioned_pictures import DRAWN, Picture, drawn, photographs
from unbraid.distill.data.captions import (
    Captions,
    caption_vectors,
    distinct_captions,
    labelled_captions,
    stored_base_vectors,
)
from unbraid.distill.data.training_items import TrainingItem
from unbraid.distill.image_batches import augment, batch_captions, epoch_rows, mixed
from unbraid.distill.labels.label_shard import Labels, text_key
from unbraid.distill.labels.label_store import Description, open_labels
from unbraid.distill.labels.write_labels import label
from unbraid.distill.recipe import ImageTraining, Recipe
from unbraid.distill.space.base_space import fit_base_space
from unbraid.distill.train_image import dev_recall, train_image
from unbraid.errors import DataError
from unbraid.runtime.preprocess import ImagePreprocess
from unbraid.vectors import normalize

TRAINING = ImageTraining(
    tower="timm:test_efficientnet",
    size=32,
    drawings=40,
    epochs=6,
    batch=8,
    learning_rate=5e-3,
    temperature=0.2,
    queue=16,
)
PREPROCESS = ImagePreprocess(32, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def recipe(training=TRAINING):
    return Recipe("tiny", "1", 5, "fake", dtype="float32", image=training)


ROUTES = {"query": "search", "document": "search", "symmetric": "match", "code": "match"}


class FakeTeacher:
    """Two routes of 24 dimensions: the sum of a random vector for each of a text's words."""

    id, dim = "fake", 24
    routes = ROUTES
    modalities = ("text",)
    about = MappingProxyType({"words": "random"})

    def __init__(self):
        self.asked = []

    def encode(self, items, task):
        self.asked.append((self.routes[task], list(items)))
        return normalize(
            np.array([sum(self._word(word, task) for word in item.split()) for item in items], np.float32)
        )

    def _word(self, word, task):
        return np.random.default_rng([ord(c) for c in self.routes[task] + word]).standard_normal(self.dim)


@pytest.fixture(scope="module")
def space():
    words = [f"a{number} b{number}" for number in range(100)]
    vectors = {route: FakeTeacher().encode(words, task) for task, route in FakeTeacher.routes.items()}
    return fit_base_space([vectors], seed=0)


def stored_vectors(pictures, space):
    """Base vectors of all captions by key, as labelling would give them."""
    texts = distinct_captions(pictures)
    routes = {route: FakeTeacher().encode(texts, task) for task, route in ROUTES.items()}
    return dict(zip([text_key("text", text) for text in texts], space.project(routes), strict=True))


@pytest.fixture(scope="module", autouse=True)
def few_dev_drawings():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(picture_files, "DEV_DRAWINGS", 12)
        yield


@pytest.fixture(scope="module")
def trained(space, tmp_path_factory):
    """A finished run on 40 drawings, and the encoder that it returned."""
    run = tmp_path_factory.mktemp("run")
    space.save(run / "base_space.safetensors")
    return run, train_image(recipe(), run, run, FakeTeacher)


# -- a whole run ---------------------------------------------------------------------------------------------


def test_training_lowers_the_loss(trained):
    curves = json.loads((trained[0] / "image" / "record.json").read_text())["curves"]
    assert (len(curves["loss"]), len(curves["dev recall@10"])) == (6 * 5, 6)
    assert np.mean(curves["loss"][-10:]) < 0.9 * np.mean(curves["loss"][:5])


def test_training_turns_pictures_towards_their_captions(trained, space):
    pictures = [picture for picture in drawn(40) if not picture.dev]
    targets = caption_vectors(pictures, stored_vectors(pictures, space)).targets
    fresh = start_image_encoder(TRAINING.tower, dim=512, preprocess=PREPROCESS)
    before, after = (
        (stage._raw_vectors(encoder, pictures) * targets).sum(1).mean() for encoder in (fresh, trained[1])
    )
    assert after > before + 0.3


def test_a_run_leaves_encoder_record_and_curves(trained):
    run, _ = trained
    assert {path.name for path in run.iterdir()} == {"base_space.safetensors", "captions", "image"}
    assert {path.name for path in (run / "image").iterdir()} == {
        "curves.png",
        "encoder.json",
        "image.safetensors",
        "record.json",
        "samples.npz",
    }


def test_the_record_holds_the_dev_recall(trained):
    results = json.loads((trained[0] / "image" / "record.json").read_text())["results"]
    assert list(results) == ["drawings (12)", "captions by"] and 0 <= results["drawings (12)"] <= 1
    assert results["captions by"] == "fake"


def test_the_saved_encoder_is_the_one_returned(trained):
    run, encoder = trained
    pixels = torch.randn(2, 3, 32, 32)
    assert not encoder.training
    torch.testing.assert_close(load_image_encoder(run / "image")(pixels), encoder(pixels))


def test_training_pictures_are_centred_where_their_captions_are(trained, space):
    _, encoder = trained
    pictures = [picture for picture in drawn(40) if not picture.dev]
    targets = caption_vectors(pictures, stored_vectors(pictures, space)).targets
    raw = stage._raw_vectors(encoder, pictures)
    torch.testing.assert_close((raw - encoder.mean).mean(0), targets.mean(0), atol=1e-5, rtol=0)


def test_an_interrupted_run_ends_with_the_weights_of_an_uninterrupted_one(
    trained, space, tmp_path, monkeypatch
):
    space.save(tmp_path / "base_space.safetensors")
    calls, whole = [], stage.caption_nce

    def stopping(*arguments):
        calls.append(None)
        if len(calls) > 12:  # in the middle of the third epoch
            raise KeyboardInterrupt
        return whole(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(stage, "caption_nce", stopping)
        with pytest.raises(KeyboardInterrupt):
            train_image(recipe(), tmp_path, tmp_path, FakeTeacher)
    assert (tmp_path / "image.checkpoint.pt").exists() and not (tmp_path / "image").exists()
    train_image(recipe(), tmp_path, tmp_path, FakeTeacher)
    resumed, expected = (load_file(run / "image" / "image.safetensors") for run in (tmp_path, trained[0]))
    assert all(torch.equal(resumed[name], expected[name]) for name in expected)
    resumed, expected = (
        json.loads((run / "image" / "record.json").read_text())["curves"] for run in (tmp_path, trained[0])
    )
    assert resumed == expected


def test_fewer_pictures_than_a_batch_are_refused(space, tmp_path):
    space.save(tmp_path / "base_space.safetensors")
    few = ImageTraining(tower=TRAINING.tower, size=32, drawings=3, batch=8)
    with pytest.raises(DataError, match=r"3 training pictures, a batch takes 8: lower image\.batch"):
        train_image(recipe(few), tmp_path, tmp_path, FakeTeacher)


# -- pictures ------------------------------------------------------------------------------------------------


def picture_set(folder, pictures, rows):
    """Write set.tar of `pictures` (name -> PIL image or bytes) and set.jsonl.gz of `rows`."""
    with tarfile.open(folder / "set.tar", "w") as archive:
        for name, picture in pictures.items():
            content = io.BytesIO(picture if isinstance(picture, bytes) else b"")
            if not isinstance(picture, bytes):
                picture.save(content, "PNG")
            member = tarfile.TarInfo(name)
            member.size = len(content.getvalue())
            archive.addfile(member, io.BytesIO(content.getvalue()))
    with gzip.open(folder / "set.jsonl.gz", "wt") as lines:
        lines.writelines(json.dumps(row) + "\n" for row in rows)


def red(width=40, height=20):
    return Image.new("RGB", (width, height), "red")


CAPTION = "a red rectangle"


def test_a_photograph_has_its_distinct_long_captions(tmp_path):
    row = {"file": "a.png", "split": "train", "caption": CAPTION, "alt": CAPTION, "title": "too short"}
    picture_set(tmp_path, {"a.png": red()}, [row])
    (picture,) = photographs(tmp_path, ("set",))
    assert (picture.captions, picture.source, picture.dev) == ((CAPTION,), "set", False)
    assert picture.pixels.shape == (20, 40, 3) and picture.pixels.dtype == np.uint8


def test_a_photograph_of_the_dev_split_is_dev(tmp_path):
    picture_set(tmp_path, {"a.png": red()}, [{"file": "a.png", "split": "dev", "alt": CAPTION}])
    assert [picture.dev for picture in photographs(tmp_path, ("set",))] == [True]


def test_pictures_without_a_row_or_a_caption_are_left_out(tmp_path):
    rows = [{"file": "b.png", "split": "train", "title": "short"}, {"file": "gone.png", "split": "train"}]
    picture_set(tmp_path, {"a.png": red(), "b.png": red(), "readme.txt": b"x"}, rows)
    assert list(photographs(tmp_path, ("set",))) == []


def test_large_photographs_are_kept_small(tmp_path):
    picture_set(tmp_path, {"a.png": red(800, 400)}, [{"file": "a.png", "split": "train", "alt": CAPTION}])
    (picture,) = photographs(tmp_path, ("set",))
    assert picture.pixels.shape == (112, 224, 3)


def test_transparency_is_white_in_training_as_at_run_time(tmp_path):
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    picture_set(tmp_path, {"a.png": clear}, [{"file": "a.png", "split": "train", "alt": CAPTION}])
    (picture,) = photographs(tmp_path, ("set",))
    assert (picture.pixels == 255).all()


@pytest.mark.parametrize("damage", ["missing", "cut", "no picture"])
def test_a_set_that_cannot_be_read_is_refused_by_name(damage, tmp_path):
    content = b"no picture" if damage == "no picture" else red()
    picture_set(tmp_path, {"a.png": content}, [{"file": "a.png", "split": "train", "alt": CAPTION}])
    tar = tmp_path / "set.tar"
    if damage == "missing":
        tar.unlink()
    if damage == "cut":
        tar.write_bytes(tar.read_bytes()[:520])
    with pytest.raises(DataError, match=r"set\.tar.*: cannot be read"):
        list(photographs(tmp_path, ("set",)))


def test_dev_drawings_are_not_among_the_training_drawings():
    pictures = list(drawn(5))
    assert [picture.dev for picture in pictures] == [True] * 12 + [False] * 5
    assert len({picture.pixels.tobytes() for picture in pictures}) == 17


def test_more_drawings_keep_the_ones_before():
    few, more = list(drawn(2)), list(drawn(4))
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(few, more, strict=False))


# -- augmentation --------------------------------------------------------------------------------------------


def dark_to_light():
    return np.tile(np.linspace(0, 255, 60).astype(np.uint8)[None, :, None], (40, 1, 3))


def is_mirrored(image):
    pixels = np.asarray(image).mean((0, 2))
    return pixels[0] > pixels[-1]


def test_drawings_are_never_mirrored():
    """Their captions and letters say what is left and right."""
    rng = random.Random(0)
    assert not any(is_mirrored(augment(dark_to_light(), rng, DRAWN)) for _ in range(50))


def test_half_of_the_photographs_are_mirrored():
    rng = random.Random(0)
    assert 30 < sum(is_mirrored(augment(dark_to_light(), rng, "image/photos")) for _ in range(100)) < 70


def test_an_augmented_picture_is_a_part_of_the_picture():
    rng = random.Random(0)
    for _ in range(50):
        image = augment(dark_to_light(), rng, DRAWN)
        assert image.width <= 60 and image.height <= 40 and image.width * image.height >= 0.7 * 2400


def test_some_photographs_lose_their_colours_and_no_drawing_does():
    red = np.full((40, 60, 3), (200, 40, 40), np.uint8)

    def grey(source):
        rng = random.Random(0)
        return sum(len(set(augment(red, rng, source).getpixel((0, 0)))) == 1 for _ in range(100))

    assert 2 < grey("image/photos") < 25
    assert grey(DRAWN) == 0


def test_a_picture_of_one_pixel_can_be_augmented():
    assert augment(np.zeros((1, 1, 3), np.uint8), random.Random(0), "image/photos").size == (1, 1)


# -- captions --------------------------------------------------------------------------------------------------


def picture(*captions, source="drawings", dev=False):
    return Picture(np.zeros((4, 4, 3), np.uint8), captions, source, dev)


def test_each_distinct_caption_is_labelled_once_per_route(space, tmp_path):
    teacher = FakeTeacher()
    pictures = [picture("one", "two"), picture("two", "three")]
    stored = labelled_captions(pictures, tmp_path, space, lambda: teacher)
    assert sorted((route, sorted(texts)) for route, texts in teacher.asked) == [
        ("match", ["one", "three", "two"]),
        ("search", ["one", "three", "two"]),
    ]
    expected = stored_vectors(pictures, space)
    assert stored.keys() == expected.keys()
    for key, vector in expected.items():
        np.testing.assert_allclose(stored[key], vector, atol=2e-3)  # stored in float16
    assert caption_vectors(pictures, stored).of_picture == [[0, 1], [1, 2]]


def test_captions_are_labelled_once_for_all_runs(space, tmp_path):
    pictures = [picture("one", "two"), picture("three")]
    first = labelled_captions(pictures, tmp_path, space, FakeTeacher)

    def no_teacher():
        raise AssertionError

    again = labelled_captions(pictures, tmp_path, space, no_teacher)
    assert all(np.array_equal(first[key], again[key]) for key in first)


def test_captions_among_the_labels_are_not_labelled_again(space, tmp_path):
    label([TrainingItem("one", "text"), TrainingItem("three", "text")], tmp_path / "labels", FakeTeacher())
    teacher = FakeTeacher()
    labelled_captions([picture("one", "two"), picture("three")], tmp_path, space, lambda: teacher)
    assert [texts for _, texts in teacher.asked] == [["two"]] * 2


def test_an_interrupted_labelling_of_captions_stops_and_goes_on(space, tmp_path, monkeypatch):
    pictures = [picture(*(f"a{number}" for number in range(300)))]
    whole, calls = FakeTeacher.encode, []

    def stopping(self, items, task):
        calls.append(len(items))
        if len(calls) > 2:  # in the second chunk
            raise KeyboardInterrupt
        return whole(self, items, task)

    with monkeypatch.context() as patch:
        patch.setattr(FakeTeacher, "encode", stopping)
        with pytest.raises(KeyboardInterrupt):
            labelled_captions(pictures, tmp_path, space, FakeTeacher)
    teacher = FakeTeacher()
    stored = labelled_captions(pictures, tmp_path, space, lambda: teacher)
    assert len(stored) == 300 and {len(texts) for _, texts in teacher.asked} == {300 - calls[0]}


def test_a_pictures_target_is_the_unit_mean_of_its_captions_base_vectors(space):
    pictures = [picture("one", "two"), picture("three")]
    base = np.stack(list(stored_vectors(pictures, space).values()))
    targets = caption_vectors(pictures, stored_vectors(pictures, space)).targets
    np.testing.assert_allclose(targets, [normalize(base[:2].mean(0)), base[2]], atol=1e-6)


def test_a_photographs_own_vector_has_its_share_of_the_target(space):
    own = normalize(np.random.default_rng(0).standard_normal(512)).astype(np.float32)
    seen, kept_out = (
        Picture(np.zeros((4, 4, 3), np.uint8), ("one",), "photos", dev, key="k") for dev in (False, True)
    )
    pictures = [seen, kept_out, picture("two")]
    plain = caption_vectors(pictures, stored_vectors(pictures, space)).targets
    mixed = caption_vectors(pictures, stored_vectors(pictures, space) | {"k": own}, own=0.25).targets
    np.testing.assert_allclose(mixed[0], normalize(0.75 * plain[0].numpy() + 0.25 * own), atol=1e-6)
    torch.testing.assert_close(mixed[1:], plain[1:])  # dev pictures and drawings are their captions alone


def test_a_photograph_without_labels_is_refused_where_its_own_vector_is_wanted(space):
    photograph = Picture(np.zeros((4, 4, 3), np.uint8), ("one",), "photos", False, key="k")
    with pytest.raises(DataError, match="photos is not labelled"):
        caption_vectors([photograph], stored_vectors([photograph], space), own=0.5)


def test_base_vectors_of_stored_keys_are_found_in_any_shard(space, tmp_path):
    texts = [f"a{number} b{number}" for number in range(5)]
    teacher = FakeTeacher()
    vectors = {route: teacher.encode(texts, task) for task, route in teacher.routes.items()}
    keys = [text_key("text", text) for text in texts]
    with open_labels(tmp_path, Description("fake", {}, tuple(vectors), 24)) as store:
        store.want(set(keys))
        for part in (slice(0, 3), slice(3, 5)):
            n = len(texts[part])
            found = {route: one[part] for route, one in vectors.items()}
            store.append(Labels(texts[part], ["text"] * n, [""] * n, found, keys[part]))
    found = stored_base_vectors(tmp_path, space, {keys[1], keys[4], "other"})
    assert set(found) == {keys[1], keys[4]}
    np.testing.assert_allclose(found[keys[4]], space.project(vectors)[4], atol=2e-3)


def test_the_captions_of_a_batch_stand_once_and_share_a_pictures_one():
    captions = Captions(torch.zeros(9, 2), [[4, 7], [1], [7, 2, 1]], torch.zeros(3, 2))
    rows, owner = batch_captions(captions, [2, 0])
    assert rows.tolist() == [7, 2, 1, 4]
    torch.testing.assert_close(owner, torch.tensor([[1 / 3, 1 / 3, 1 / 3, 0], [1 / 2, 0, 0, 1 / 2]]))


def test_an_epoch_takes_all_photographs_and_the_next_drawings():
    pictures = [picture("p", source="photos"), picture("d"), picture("x", dev=True)]
    pictures += [picture("d") for _ in range(4)]
    assert [epoch_rows(pictures, 2, epoch) for epoch in range(3)] == [[0, 1, 3], [0, 4, 5], [0, 6, 1]]
    assert epoch_rows(pictures, 0, 1) == epoch_rows(pictures, 9, 1) == [0, 1, 3, 4, 5, 6]


def test_mixing_keeps_its_share_and_takes_the_rest_from_the_next_row():
    values = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    assert mixed(values, 0.75).tolist() == [[1.5, 2.5], [3.5, 4.5], [4.0, 5.0]]
    torch.testing.assert_close(mixed(values, 1.0), values)


def test_the_first_half_of_the_epochs_sees_smaller_pictures(space, tmp_path, monkeypatch):
    seen = []
    raw = stage.ImageEncoder.raw

    def watched(self, pixels):
        if self.training and torch.is_grad_enabled():
            seen.append((pixels.shape[-1], len(pixels)))
        return raw(self, pixels)

    monkeypatch.setattr(stage.ImageEncoder, "raw", watched)
    short = replace(TRAINING, epochs=3, first_size=24, mixup=0.2, neighbour_weight=0.3)
    space.save(tmp_path / "base_space.safetensors")
    train_image(recipe(short), tmp_path, tmp_path, FakeTeacher)
    per_epoch = len(seen) // 3
    assert [size for size, _ in seen] == [24] * per_epoch + [32] * 2 * per_epoch


def test_dev_recall_counts_pictures_among_the_ten_nearest(monkeypatch):
    """12 dev pictures at angles of 0 to 11 degrees; the captions of two of them point the other way."""
    angles = torch.deg2rad(torch.arange(12.0))
    images = torch.stack([angles.cos(), angles.sin()], 1)
    queries = images.clone()
    queries[[0, 11]] = -images[[0, 11]]  # nearest to -0° is 11°, so 0° is last; and the other way round
    pictures = [picture("x", dev=True, source="image/some_photos") for _ in range(12)]
    captions = Captions(queries, [[row] for row in range(12)], queries)
    encoder = start_image_encoder("timm:test_efficientnet", dim=2, preprocess=PREPROCESS)
    monkeypatch.setattr(stage, "_raw_vectors", lambda encoder, pictures: images)
    assert dev_recall(encoder, pictures, captions) == {"photos (12)": pytest.approx(10 / 12)}


def test_dev_recall_does_not_look_at_training_pictures(space, monkeypatch):
    pictures = [picture("one"), picture("two"), picture("three", dev=True)]
    captions = caption_vectors(pictures, stored_vectors(pictures, space))
    encoder = start_image_encoder("timm:test_efficientnet", dim=512, preprocess=PREPROCESS)
    assert dev_recall(encoder, pictures, captions) == {"drawings (1)": 1.0}


# -- a tower with published weights --------------------------------------------------------------------------

PUBLISHED = replace(
    TRAINING,
    tower="timm:test_efficientnet.r160_in1k",
    frozen=("conv_stem", "blocks.0"),
    average=0.5,
    epochs=2,
)


@pytest.fixture
def published(monkeypatch):
    """The tower of PUBLISHED, which comes from no hub: its weights are drawn with a seed of its own."""

    def start(recipe):
        torch.manual_seed(99)
        made = start_image_encoder(TRAINING.tower, dim=512, preprocess=PREPROCESS)
        made.name = PUBLISHED.tower
        return made

    monkeypatch.setattr(stage, "new_image_encoder", start)
    return start(None)


def test_a_tower_may_be_used_at_more_pixels_than_it_was_trained_with(published, space, tmp_path):
    space.save(tmp_path / "base_space.safetensors")
    larger = replace(PUBLISHED, epochs=1, used_size=40)
    assert train_image(recipe(larger), tmp_path, tmp_path, FakeTeacher).preprocess.size == 40
    assert load_image_encoder(tmp_path / "image").preprocess.size == 40


def test_frozen_weights_and_statistics_of_a_published_tower_stay(published, space, tmp_path):
    space.save(tmp_path / "base_space.safetensors")
    trained = train_image(recipe(PUBLISHED), tmp_path, tmp_path, FakeTeacher).tower.state_dict()
    changed = {
        name for name, value in published.tower.state_dict().items() if not torch.equal(value, trained[name])
    }
    assert changed and not any(name.startswith(("conv_stem.", "blocks.0.")) for name in changed)
    assert not any("running" in name for name in changed)


def test_the_running_average_of_the_weights_is_kept(published, space, tmp_path, monkeypatch):
    last = {}
    whole = stage.train

    def watched(name, model, *rest, **named):
        curves = whole(name, model, *rest, **named)
        last.update({name: weight.clone() for name, weight in model.state_dict().items()})
        return curves

    monkeypatch.setattr(stage, "train", watched)
    space.save(tmp_path / "base_space.safetensors")
    kept = train_image(recipe(PUBLISHED), tmp_path, tmp_path, FakeTeacher).state_dict()
    assert not torch.allclose(kept["projection.weight"], last["projection.weight"], atol=1e-6)


def test_the_projection_of_a_published_tower_starts_at_the_ridge_regression(published, space):
    pictures = [one for one in drawn(40) if not one.dev]
    captions = caption_vectors(pictures, stored_vectors(pictures, space))
    before = (stage._raw_vectors(published, pictures) * captions.targets).sum(1).mean()
    stage._fit_projection(published, pictures, captions)
    after = (stage._raw_vectors(published, pictures) * captions.targets).sum(1).mean()
    assert after > before + 0.3


def test_frozen_parts_that_the_tower_lacks_are_refused_by_name(published):
    with pytest.raises(DataError, match=r"no weights blocks\.77: its parts are conv_stem, bn1, blocks"):
        stage.freeze(published, ["blocks.77"])
    with pytest.raises(DataError, match="no weights block:"):
        stage.freeze(published, ["block"])


def test_dev_recall_counts_each_unseen_file_by_itself(space):
    pictures = [picture("one", dev=True), picture("two", dev=True, source="unseen image/other_photos")]
    captions = caption_vectors(pictures, stored_vectors(pictures, space))
    encoder = start_image_encoder("timm:test_efficientnet", dim=512, preprocess=PREPROCESS)
    assert set(dev_recall(encoder, pictures, captions)) == {"drawings (1)", "unseen image/other_photos (1)"}


def test_unseen_files_are_dev_pictures(tmp_path):
    rows = [{"file": "a.png", "split": "train", "alt": CAPTION}]
    picture_set(tmp_path, {"a.png": red()}, rows)
    (found,) = picture_files.recipe_pictures(ImageTraining(unseen=("set",)), tmp_path)
    assert (found.dev, found.source) == (True, "unseen set")


def test_a_label_is_a_caption_of_any_length(tmp_path):
    picture_set(tmp_path, {"a.png": red()}, [{"file": "a.png", "alt": CAPTION, "label": "red"}])
    assert next(photographs(tmp_path, ("set",))).captions == (CAPTION, "red")
