from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from unbraid.distill import run as stages
from unbraid.distill.recipe import TextTraining, read_recipe
from unbraid.errors import DataError
from unbraid.teacher.labels import Description, open_labels
from unbraid.teacher.shard import Labels
from unbraid.torchvision_shim import ensure_torchvision
from unbraid.training.record import write_record

ensure_torchvision()


@pytest.fixture
def plan():
    return read_recipe(Path("starter"))


def test_finished_stages_are_not_run_again(plan, tmp_path):
    for stage in ("text", "image", "mappers"):
        write_record(tmp_path / stage, plan, {}, {})
    lines = list(stages.run_stages(Path("starter"), tmp_path, tmp_path))
    assert [line.split(":")[0] for line in lines] == ["text", "image", "mappers"]


def test_a_stage_made_with_another_recipe_is_refused(plan, tmp_path):
    write_record(tmp_path / "text", replace(plan, text=TextTraining(epochs=(9,))), {}, {})
    with pytest.raises(DataError, match="made with another text"):
        list(stages.run_stages(Path("starter"), tmp_path, tmp_path))


@pytest.mark.parametrize("text_is_done", [False, True])
def test_captions_are_not_encoded_by_another_teacher_than_the_labels(
    text_is_done, plan, tmp_path, monkeypatch
):
    if text_is_done:
        write_record(tmp_path / "text", plan, {}, {})
    with open_labels(tmp_path / "labels", Description("other", {}, ("plain",), 4)) as store:
        store.want({"a"})
        store.append(Labels(["a"], ["text"], [""], {"plain": np.eye(1, 4)}, ["a"]))
    teacher = SimpleNamespace(id="mine", about={}, routes={"query": "plain"}, dim=4)
    monkeypatch.setattr(stages, "load", lambda name, *, dtype: teacher)
    with pytest.raises(DataError, match="teacher other instead of mine"):
        list(stages.run_stages(Path("starter"), tmp_path, tmp_path))


def test_training_does_not_start_on_unfinished_labels(tmp_path):
    with open_labels(tmp_path / "labels", Description("fake", {}, ("plain",), 4)) as store:
        store.want({"a", "b", "c"})
    with pytest.raises(DataError, match="0 of 3 items"):
        list(stages.run_stages(Path("starter"), tmp_path, tmp_path))
