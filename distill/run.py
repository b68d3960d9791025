"""All stages after labelling, in order; a stage that left its record is not run again."""

import json
from collections.abc import Iterator
from pathlib import Path

from unbraid.distill.fit_mappers import fit_mappers
from unbraid.distill.label import teacher_dtype
from unbraid.distill.recipe import Recipe, read_recipe
from unbraid.distill.train_image import train_image
from unbraid.distill.train_text import train_text
from unbraid.errors import DataError
from unbraid.teacher import load
from unbraid.teacher.labels import check_complete
from unbraid.teacher.minilm import minilm_folder
from unbraid.training.record import recipe_table


def run_stages(recipe: Path, data: Path, run: Path) -> Iterator[str]:
    """Train text, train image, fit mappers, each into `run`; yields a line when a stage is done.

    Raises DataError when `run` holds a stage that was made with another recipe.
    """
    plan = read_recipe(recipe)
    if not _finished(run / "text", plan, "text"):
        check_complete(run / "labels")
        train_text(plan, run / "labels", run, backbone=minilm_folder())
    yield f"text: {run / 'text'}"
    if plan.image.photos or plan.image.drawings:
        if not _finished(run / "image", plan, "image"):
            train_image(plan, data, run, load(plan.teacher, dtype=teacher_dtype(plan)))
        yield f"image: {run / 'image'}"
    if not _finished(run / "mappers", plan, "mapper"):
        fit_mappers(plan, data, run)
    yield f"mappers: {run / 'mappers'}"


def _finished(folder: Path, plan: Recipe, section: str) -> bool:
    """Whether the stage in `folder` is done, by the same recipe as far as it concerns that stage."""
    record = folder / "record.json"
    if not record.exists():
        return False
    made = json.loads(record.read_text())["recipe"]
    now = json.loads(json.dumps(recipe_table(plan)))
    for name in ("seed", "teacher", "items", "source", section):
        if made.get(name) != now[name]:
            raise DataError(
                f"{record}: made with another {name} than the recipe has now: choose another --run"
            )
    return True
