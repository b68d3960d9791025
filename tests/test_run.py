import json
from dataclasses import replace
from pathlib import Path

import pytest

from unbraid.distill import run as stages
from unbraid.distill.recipe import TextTraining, read_recipe
from unbraid.errors import DataError
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


def test_training_does_not_start_on_unfinished_labels(tmp_path):
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "labels.json").write_text(json.dumps({"items": 3}))
    with pytest.raises(DataError, match="0 of 3 items"):
        list(stages.run_stages(Path("starter"), tmp_path, tmp_path))
