import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from typer.testing import CliRunner

import unbraid
from unbraid.base_encoders.image_encoder import load_image_encoder
from unbraid.cli.main import app
from unbraid.distill import train_tower as stage
from unbraid.distill.data import captioned_pictures as picture_files
from unbraid.distill.recipe import ImageTraining, Recipe, read_recipe
from unbraid.distill.recipe_models import below_data
from unbraid.distill.train_image import new_image_encoder
from unbraid.distill.train_tower import encoded_captions, start_from_graph, train_tower
from unbraid.errors import DataError
from unbraid.export import export_tower
from unbraid.runtime.onnx_session import open_graph, run_graph
from unbraid.training.record import recipe_table

TRAINING = ImageTraining(
    tower="timm:test_efficientnet", size=32, drawings=24, epochs=1, batch=8, queue=16, temperature=0.2
)


def recipe(**changes):
    return Recipe("pictured", "2", 5, dtype="float32", image=replace(TRAINING, **changes))


@pytest.fixture(scope="module", autouse=True)
def few_dev_drawings():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(picture_files, "DEV_DRAWINGS", 4)
        yield


@pytest.fixture(scope="module")
def made(bundle_folder, tmp_path_factory):
    """A run of `train_tower`, and the tiny bundle with its tower."""
    folder = tmp_path_factory.mktemp("tower")
    train_tower(recipe(), folder, folder / "run", unbraid.load(bundle_folder, threads=1))
    export_tower(recipe_table(recipe()), folder / "run", bundle_folder, folder / "bundle")
    return folder


def read(folder):
    return json.loads((folder / "bundle.json").read_text())


def test_every_file_but_the_tower_and_what_describes_it_stays_byte_for_byte(made, bundle_folder):
    new = {path.name: path.read_bytes() for path in (made / "bundle").iterdir()}
    old = {path.name: path.read_bytes() for path in bundle_folder.iterdir()}
    assert set(new) == set(old)
    changed = {name for name in old if new[name] != old[name]}
    assert changed == {"image.fp32.onnx", "parity.json", "README.md", "bundle.json"}


def test_texts_keep_their_vectors_and_the_base_its_id_while_pictures_get_others(made, bundle_folder):
    old, new = (unbraid.load(folder, threads=1) for folder in (bundle_folder, made / "bundle"))
    items = ["a red cat", unbraid.Code("def house(): return river")]
    assert old.encode(items, task="document").tobytes() == new.encode(items, task="document").tobytes()
    assert (old.base_id, old.bundle.tiers, old.bundle.mappers) == (
        new.base_id,
        new.bundle.tiers,
        new.bundle.mappers,
    )
    assert old.bundle.image.id != new.bundle.image.id and old.bundle.id != new.bundle.id
    assert new.name == "pictured 2"


def test_the_bundle_encodes_pictures_as_the_trained_tower(made):
    encoder = load_image_encoder(made / "run" / "image")
    picture = unbraid.distill.drawings.draw(5).image
    with torch.inference_mode():
        expected = encoder(torch.from_numpy(encoder.preprocess(picture)[None])).numpy()
    given = unbraid.load(made / "bundle", threads=1).encode([picture])
    np.testing.assert_allclose(given, expected, atol=5e-3)  # weights are stored in float16


def test_the_card_keeps_what_it_said_of_texts_and_names_where_they_come_from(made, bundle_folder):
    old, new = ((folder / "README.md").read_text() for folder in (bundle_folder, made / "bundle"))
    assert new.startswith("# pictured 2\n")
    assert "- Image: timm:test_efficientnet at 32 px from random weights, 1 epochs" in new
    assert f"(`{read(bundle_folder)['id']}`) with an image tower of its own" in new
    assert f"bundle `{read(made / 'bundle')['id']}`" in new
    kept = [line for line in old.splitlines() if line.startswith(("- Tier", "- Mapper", "- Nano"))]
    assert len(kept) >= 5 and all(line in new for line in kept)


def test_the_parity_report_has_every_graph_once(made):
    graphs = [one["graph"] for one in json.loads((made / "bundle" / "parity.json").read_text())]
    assert sorted(graphs) == sorted(path.name for path in (made / "bundle").glob("*.onnx"))


def test_a_finished_tower_is_not_trained_again(made, bundle_folder, monkeypatch):
    monkeypatch.setattr(stage, "fit_image", None)
    again = train_tower(recipe(), made, made / "run", unbraid.load(bundle_folder, threads=1))
    assert torch.equal(again.mean, load_image_encoder(made / "run" / "image").mean)
    with pytest.raises(DataError, match="made with another image"):
        train_tower(recipe(epochs=2), made, made / "run", unbraid.load(bundle_folder, threads=1))


def test_captions_that_are_stored_are_not_encoded_again(made, embedder, tmp_path):
    class Counting:
        bundle = embedder.bundle
        asked = 0

        def encode(self, texts, **named):
            self.asked += len(texts)
            return embedder.encode(texts, **named)

    model = Counting()
    first = encoded_captions(["a cat", "a dog"], tmp_path, model)
    second = encoded_captions(["a cat", "a dog"], tmp_path, model)
    assert model.asked == 2 and list(first) == list(second)
    np.testing.assert_array_equal(list(first.values()), embedder.encode(["a cat", "a dog"]))
    np.testing.assert_array_equal(list(first.values()), list(second.values()))


def test_a_bundles_own_tower_trains_on_from_where_it_was(bundle_folder):
    """Batch normalization is back in place and changes nothing, neither in training."""
    graph = bundle_folder / "image.fp32.onnx"
    encoder = new_image_encoder(recipe())
    pixels = torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    start_from_graph(encoder, graph, pixels)
    expected = run_graph(open_graph(graph), "base_vector", {"pixel_values": pixels.numpy()})
    with torch.inference_mode():
        np.testing.assert_allclose(encoder.eval()(pixels), expected, atol=1e-4)
        np.testing.assert_allclose(encoder.train()(pixels), expected, atol=1e-2)
    assert [one for one in encoder.modules() if isinstance(one, torch.nn.BatchNorm2d)]


def test_another_tower_does_not_go_on_from_a_bundles(bundle_folder):
    encoder = new_image_encoder(recipe(tower="timm:test_resnet"))
    with pytest.raises(DataError, match="not a graph of timm:test_resnet"):
        start_from_graph(encoder, bundle_folder / "image.fp32.onnx", torch.zeros(1, 3, 32, 32))


def test_a_tower_trained_against_another_bundles_captions_is_refused(made, bundle_folder, tmp_path):
    run = shutil.copytree(made / "run", tmp_path / "run")
    record = json.loads((run / "image" / "record.json").read_text())
    record["results"]["captions by"] = "other"
    (run / "image" / "record.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match="trained against captions by text encoder other"):
        export_tower(recipe_table(recipe()), run, bundle_folder, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_what_needs_a_teacher_is_refused(embedder, tmp_path):
    with pytest.raises(DataError, match="own_vector needs a teacher"):
        train_tower(recipe(own_vector=0.5), tmp_path, tmp_path, embedder)


def test_the_command_trains_and_writes_a_bundle(made, bundle_folder, tmp_path):
    (tmp_path / "my.toml").write_text(
        'name = "mine"\nversion = "1"\nseed = 5\n[image]\ntower = "timm:test_efficientnet"\nsize = 32\n'
        'drawings = 8\nepochs = 1\nbatch = 8\nqueue = 16\nstart = "bundle"\n'
    )
    command = [
        "train",
        "tower",
        str(tmp_path / "my.toml"),
        "--bundle",
        str(bundle_folder),
        "--data",
        str(tmp_path),
    ]
    done = CliRunner().invoke(app, [*command, "--run", str(tmp_path / "run"), "--out", str(tmp_path / "new")])
    assert done.exit_code == 0, done.output
    assert "starter" in read(bundle_folder)["name"] and read(tmp_path / "new")["name"] == "mine"
    assert "from starter 0." in (tmp_path / "new" / "README.md").read_text()


def test_the_shipped_recipe_needs_no_teacher():
    shipped = read_recipe(Path("tower"))
    assert shipped.teacher == "" and shipped.image.start == "bundle"
    with pytest.raises(DataError, match="the recipe names no teacher: add teacher"):
        below_data(shipped.teacher, Path())
