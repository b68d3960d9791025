"""What a run will cost, known before it starts."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from unbraid.distill import estimate as module
from unbraid.distill.data.training_items import TrainingItem, recipe_items
from unbraid.distill.estimate import Amount, estimate_run, label_bytes, measure
from unbraid.distill.labels.label_shard import Labels, write_shard
from unbraid.distill.recipe import StaticTraining, read_recipe
from unbraid.errors import DataError
from unbraid.training.torchvision_shim import ensure_torchvision

ensure_torchvision()


def write_rows(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


@pytest.fixture(scope="module")
def v4():
    return read_recipe(Path("v4"))


@pytest.fixture(scope="module")
def data(v4, tmp_path_factory):
    """Forty rows for every file of the v4 recipe; pictures are rows alone."""
    folder = tmp_path_factory.mktemp("data")
    for source in v4.source:
        fields = dict.fromkeys((*source.text, *source.code))
        picture = source.file.startswith("image/")
        write_rows(
            folder / source.file,
            (
                {field: f"{source.file} {field} {number}" for field in fields}
                | ({"file": f"{number}.png", "split": "train" if number % 4 else "dev"} if picture else {})
                for number in range(40)
            ),
        )
    return folder


@pytest.fixture
def quick(monkeypatch):
    """No timing: a second a token, an item and a picture of training, a tenth of it for encoding."""
    monkeypatch.setattr(module, "_text_seconds", lambda plan, config, backbone: (1.0, 0.1))
    monkeypatch.setattr(module, "_nano_seconds", lambda plan, backbone: 1.0)
    monkeypatch.setattr(module, "_image_seconds", lambda plan: 1.0)
    monkeypatch.setattr(module, "backbone_folder", lambda name, data: Path(name))


def test_the_full_path_is_estimated_without_the_weights(v4, data, quick, monkeypatch):
    monkeypatch.setattr(module, "load", None)  # whoever loads a teacher fails
    said = estimate_run(v4, data, device="cpu")
    assert "4 passes of 2,048 dimensions" in said
    assert "A100" in said
    assert "150 pictures; " in said
    for stage in ("label", "small", "nano", "image", "mappers", "in all", "free on the disk"):
        assert any(line.startswith(stage) for line in said.splitlines())


def test_every_source_of_the_full_path_has_a_licence_and_so_has_the_teacher(v4):
    assert all(source.licence for source in v4.source)
    assert "Qwen Research License" in v4.backbone_licence
    assert v4.image.own_vector > 0


def test_hours_follow_from_tokens_epochs_and_seconds_a_token(v4, data, quick):
    plan = replace(v4, nano=StaticTraining(epochs=3), image=replace(v4.image, drawings=10, epochs=2))
    items = recipe_items(plan, data)
    amount = measure(plan, data, items)
    stages = {one.stage: one for one in module._students(plan, data, amount)}
    assert stages["small"].seconds == amount.student_tokens * sum(plan.text["small"].epochs)
    assert stages["nano"].seconds == len(items) * 3
    assert stages["image"].seconds == (150 + 10) * 2


def test_what_is_counted(v4, data):
    items = recipe_items(v4, data)
    amount = measure(replace(v4, text={"small": replace(v4.text["small"], max_tokens=3)}), data, items)
    assert amount.texts + amount.code == len(items)
    assert amount.code == sum(item.modality == "code" for item in items)
    assert amount.pictures == 5 * 30  # a fourth is kept out
    assert amount.student_tokens == 3 * len(items)
    assert amount.tokens == sum(len(item.text) // 4 + 2 for item in items)
    assert measure(replace(v4, image=replace(v4.image, own_vector=0.0)), data, items).pictures == 0


def test_the_size_of_labels_is_near_what_a_shard_takes(tmp_path):
    rng = np.random.default_rng(0)
    n, dim = 2048, 256
    texts = [" ".join(rng.choice(["sun", "moon", "river", "cat", "7", "blue"], 12)) for _ in range(n)]
    vectors = {route: rng.standard_normal((n, dim)).astype(np.float16) for route in "abc"}
    keys = [rng.bytes(32).hex() for _ in range(n)]
    write_shard(tmp_path / "shard.parquet", Labels(texts, ["text"] * n, [""] * n, vectors, keys), {})
    amount = Amount(n, 0, 0, 0, 0, sum(map(len, texts)), 0)
    assert label_bytes(amount, 3, dim) == pytest.approx((tmp_path / "shard.parquet").stat().st_size, rel=0.1)


def test_a_teacher_that_is_here_is_timed(v4, data, quick, tiny_v4):
    said = estimate_run(replace(v4, teacher=str(tiny_v4), nano=None), data, device="cpu")
    assert "4 passes of 64 dimensions" in said
    assert "24 items timed through the teacher" in said
    assert "A100" not in said


def test_students_are_timed_on_their_own_backbone(v4, data, tiny_bert):
    small = replace(v4.text["small"], backbone=str(tiny_bert), layers=(0,), batch_tokens=64)
    plan = replace(v4, text={"small": small, "base": small}, nano=StaticTraining(batch=8))
    plan = replace(plan, image=replace(plan.image, tower="timm:test_efficientnet", size=32, batch=2))
    stages = module._students(plan, data, measure(plan, data, recipe_items(plan, data)))
    assert [one.stage for one in stages] == ["small", "base", "nano", "image", "mappers"]
    assert all(one.seconds > 0 for one in stages)


def test_a_missing_file_is_named_before_anything_else(v4, tmp_path):
    with pytest.raises(DataError, match="squad_sentences"):
        estimate_run(v4, tmp_path, device="cpu")


def test_each_member_of_a_joined_teacher_is_a_stage_of_its_own(v4, data, quick, monkeypatch, fake_member):
    items = [TrainingItem(f"text {number} a", "text") for number in range(8)]
    items.append(TrainingItem("ein Text b", "text", language="de"))
    monkeypatch.setattr(module, "joined_items", lambda folder: items)
    monkeypatch.setattr(module, "load_member", lambda spec, *, device, dtype: fake_member(spec))
    said = estimate_run(replace(v4, teacher="", members={"e5": 1.0, "minilm": 0.8}, nano=None), data)
    lines = [line.split("  ")[0] for line in said.splitlines()]
    assert said.startswith("v4: teacher e5 + minilm")
    assert {"label, e5", "label, minilm", "small"} <= set(lines)
