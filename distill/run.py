"""All stages after labelling, in order; a stage that left its record is not run again."""

import json
from collections.abc import Iterator
from pathlib import Path

from unbraid.distill.fit_mappers import fit_mappers
from unbraid.distill.label import describe, teacher_dtype
from unbraid.distill.recipe import Recipe, read_recipe
from unbraid.distill.train_image import train_image
from unbraid.distill.train_text import train_text
from unbraid.errors import DataError
from unbraid.teacher import Teacher, load
from unbraid.teacher.labels import check_complete, check_same_store, read_description
from unbraid.teacher.minilm import minilm_folder
from unbraid.training.record import recipe_table


def run_stages(recipe: Path, data: Path, run: Path) -> Iterator[str]:
    """Train text, train image, fit mappers, each into `run`; yields a line when a stage is done.

    Raises DataError when `run` holds a stage that was made with another recipe.
    """
    plan = read_recipe(recipe)
    pictures = bool(plan.image.photos or plan.image.drawings)
    if not _finished(run / "text", plan, "text"):
        check_complete(run / "labels")
        if pictures:
            _teacher_of(plan, run / "labels")  # refused now, and not after hours of training text
        train_text(plan, run / "labels", run, backbone=minilm_folder())
    yield f"text: {run / 'text'}"
    if pictures:
        if not _finished(run / "image", plan, "image"):
            train_image(plan, data, run, _teacher_of(plan, run / "labels"))
        yield f"image: {run / 'image'}"
    if not _finished(run / "mappers", plan, "mapper"):
        fit_mappers(plan, data, run)
    yield f"mappers: {run / 'mappers'}"


def _teacher_of(plan: Recipe, labels: Path) -> Teacher:
    """The recipe's teacher, which encodes captions into the base space that was fitted to `labels`.

    Raises DataError when the labels are another teacher's.
    """
    teacher = load(plan.teacher, dtype=teacher_dtype(plan))
    check_same_store(labels, describe(teacher, read_description(labels)["routes"]))
    return teacher


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
