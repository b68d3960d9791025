import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from msgspec.structs import replace

from unbraid.distill import pipeline as stages
from unbraid.distill import recipe_models
from unbraid.distill.data.training_items import TrainingItem
from unbraid.distill.labels import write_labels as label_module
from unbraid.distill.labels.label_shard import Labels
from unbraid.distill.labels.label_store import Description, open_labels
from unbraid.distill.recipe import ImageTraining, StaticTraining, TextTraining, read_recipe
from unbraid.errors import DataError
from unbraid.training.record import write_record
from unbraid.training.torchvision_shim import ensure_torchvision

ensure_torchvision()


@pytest.fixture
def plan():
    """The starter's, with one tier and a teacher that is not joined."""
    text = {"small": TextTraining()}
    starter = replace(read_recipe(Path("starter")), members={}, unseen=(), text=text)
    return replace(
        starter, teacher="starter", nano=StaticTraining(), document_tier="small", query_tier="small"
    )


class Stop(Exception):
    """Stands for a stage that a test does not run."""


def stop(*_, **__):
    raise Stop


def fake_teacher(name="mine"):
    return SimpleNamespace(
        id=name,
        about={"dtype": "float32"},
        routes={"query": "plain"},
        dim=4,
        modalities=("text",),
        encode=lambda items, task: np.eye(len(items), 4, dtype=np.float32),
    )


@pytest.fixture
def teacher(monkeypatch):
    """What loads instead of any teacher; and one item of data."""
    loaded = []

    def load(name, *, device=None, dtype=None):
        loaded.append(name)
        return fake_teacher()

    monkeypatch.setattr(stages, "load", load)
    monkeypatch.setattr(label_module, "load", load)
    monkeypatch.setattr(stages, "items_to_label", lambda *_: [TrainingItem("a", "text")])
    return loaded


def test_finished_stages_are_not_run_again(plan, tmp_path):
    for stage in ("small", "nano", "image", "mappers"):
        write_record(tmp_path / stage, plan, {}, {})
    lines = list(stages.run_stages(plan, tmp_path, tmp_path))
    assert [line.split(":")[0] for line in lines] == ["small", "nano", "image", "mappers"]


@pytest.mark.parametrize(
    ("stage", "section", "other"),
    [
        ("small", "text", {"small": TextTraining(epochs=(9,))}),
        ("nano", "nano", StaticTraining(epochs=9)),
        ("image", "image", ImageTraining()),
    ],
)
def test_a_stage_made_with_another_recipe_is_refused(stage, section, other, plan, tmp_path):
    for finished in ("small", "nano", "image"):
        write_record(tmp_path / finished, plan, {}, {})
    write_record(tmp_path / stage, replace(plan, **{section: other}), {}, {})
    name = "[text.small]" if section == "text" else section
    with pytest.raises(DataError, match=re.escape(f"made with another {name}")):
        list(stages.run_stages(plan, tmp_path, tmp_path))


@pytest.mark.parametrize("text_is_done", [False, True])
def test_captions_are_not_encoded_by_another_teacher_than_the_labels(
    text_is_done, plan, teacher, tmp_path, monkeypatch
):
    plan = replace(plan, nano=None)
    if text_is_done:
        write_record(tmp_path / "small", plan, {}, {})
    with open_labels(tmp_path / "labels", Description("other", {}, ("plain",), 4)) as store:
        store.want({"a"})
        store.append(Labels(["a"], ["text"], [""], {"plain": np.eye(1, 4)}, ["a"]))
    monkeypatch.setattr(stages, "train_image", lambda plan, data, run, teacher: teacher())
    with pytest.raises(DataError, match="teacher other instead of mine"):
        list(stages.run_stages(plan, tmp_path, tmp_path))


def test_labels_that_are_complete_need_no_teacher(plan, teacher, tmp_path, monkeypatch):
    """Which may be on another machine, with a GPU."""
    monkeypatch.setattr(stages, "fit_space", stop)
    for _ in range(2):
        with pytest.raises(Stop):
            list(stages.run_stages(plan, tmp_path, tmp_path))
    assert len(teacher) == 1


@pytest.mark.parametrize(
    "change", [{"items": 7}, {"seed": 3}, {"image": ImageTraining(own_vector=0.5)}], ids=str
)
def test_labels_are_looked_at_again_when_the_recipe_wants_others(
    change, plan, teacher, tmp_path, monkeypatch
):
    monkeypatch.setattr(stages, "fit_space", stop)
    for wanted in (plan, replace(plan, **change)):
        with pytest.raises(Stop):
            list(stages.run_stages(wanted, tmp_path, tmp_path))
    assert len(teacher) == 2


def test_other_training_on_the_same_labels_needs_no_teacher(plan, teacher, tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "fit_space", stop)
    other = replace(plan, text={"small": TextTraining(epochs=(9,))}, image=replace(plan.image, epochs=1))
    for wanted in (plan, other):
        with pytest.raises(Stop):
            list(stages.run_stages(wanted, tmp_path, tmp_path))
    assert len(teacher) == 1


def test_a_stop_while_labelling_stops_the_run(plan, teacher, tmp_path, monkeypatch):
    def interrupted(items, folder, teacher):
        return label_module.Labelled(3, 0, 1, True)

    monkeypatch.setattr(stages, "label", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(stages.run_stages(plan, tmp_path, tmp_path))
    assert not (tmp_path / "labels" / "record.json").exists()


def test_pictures_are_labelled_where_their_own_vectors_are_wanted(plan, tmp_path, monkeypatch):
    picture = TrainingItem("a.png", "image", picture=tmp_path)
    monkeypatch.setattr(stages, "recipe_items", lambda *_, most: [TrainingItem("a", "text")][:most])
    monkeypatch.setattr(stages, "picture_items", lambda data, names, folder: [picture])
    wanted = replace(plan, image=ImageTraining(photos=("x",), own_vector=0.5))
    assert picture in stages.items_to_label(wanted, tmp_path, tmp_path)
    assert picture not in stages.items_to_label(plan, tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("dtype", "sets", "expected"),
    [
        ("auto", (), "float32"),
        ("auto", ("avx2", "avx512f"), "float32"),
        ("auto", ("avx2", "avx512_bf16"), "bfloat16"),
        ("auto", ("amx_bf16",), "bfloat16"),
        ("bfloat16", (), "bfloat16"),
        ("float32", ("avx512_bf16",), "float32"),
    ],
)
def test_auto_is_bfloat16_where_the_processor_multiplies_it(dtype, sets, expected, plan, monkeypatch):
    monkeypatch.setattr(recipe_models, "instruction_sets", lambda: frozenset(sets))
    found = recipe_models.torch_dtype(replace(plan, dtype=dtype))
    assert str(found) == f"torch.{expected}"


def test_auto_is_bfloat16_on_cuda(plan, monkeypatch):
    monkeypatch.setattr(recipe_models, "instruction_sets", lambda: frozenset())
    monkeypatch.setattr(recipe_models, "choose_device", lambda device: SimpleNamespace(type="cuda"))
    assert str(recipe_models.torch_dtype(replace(plan, dtype="auto"), None)) == "torch.bfloat16"
