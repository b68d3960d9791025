import json
import subprocess
from pathlib import Path

from PIL import Image

from unbraid.distill.recipe import read_recipe
from unbraid.training import record
from unbraid.training.record import recipe_table

STARTER = read_recipe(Path("starter"))


def test_a_record_holds_recipe_commit_results_and_curves(tmp_path):
    record.write_record(tmp_path / "text", STARTER, {"loss": [2, 1.123456]}, {"items": 7})
    written = json.loads((tmp_path / "text" / "record.json").read_text())
    assert written["recipe"] == json.loads(json.dumps(recipe_table(STARTER)))
    assert written["commit"] == record.commit()
    assert written["results"] == {"items": 7}
    assert written["curves"] == {"loss": [2, 1.12346]}


def test_curves_are_drawn_side_by_side(tmp_path):
    record.draw_curves(tmp_path / "one.png", {"a": [3.0, 1.0, 2.0]})
    record.draw_curves(tmp_path / "two.png", {"a": [3.0, 1.0, 2.0], "b": [0.5]})
    with Image.open(tmp_path / "one.png") as one, Image.open(tmp_path / "two.png") as two:
        assert two.size == (2 * one.width, one.height)


def test_a_record_without_curves_has_no_picture(tmp_path):
    record.write_record(tmp_path, STARTER, {}, {})
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


def test_outside_git_the_commit_is_unknown(monkeypatch):
    def no_git(*arguments, **options):
        raise subprocess.CalledProcessError(128, "git")

    monkeypatch.setattr(subprocess, "run", no_git)
    assert record.commit() == "unknown"
