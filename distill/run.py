"""All stages after labelling, in order; a stage that left its record is not run again."""

from collections.abc import Iterator
from pathlib import Path

from unbraid.distill.fit_mappers import fit_mappers
from unbraid.distill.label import teacher_dtype
from unbraid.distill.recipe import read_recipe
from unbraid.distill.train_image import train_image
from unbraid.distill.train_text import train_text
from unbraid.teacher import load
from unbraid.teacher.minilm import minilm_folder


def run_stages(recipe: Path, data: Path, run: Path) -> Iterator[str]:
    """Train text, train image, fit mappers, each into `run`; yields a line when a stage is done."""
    plan = read_recipe(recipe)
    if not (run / "text" / "record.json").exists():
        train_text(plan, run / "labels", run, backbone=minilm_folder())
    yield f"text: {run / 'text'}"
    if plan.image.photos or plan.image.drawings:
        if not (run / "image" / "record.json").exists():
            train_image(plan, data, run, load(plan.teacher, dtype=teacher_dtype(plan)))
        yield f"image: {run / 'image'}"
    if not (run / "mappers" / "record.json").exists():
        fit_mappers(plan, data, run)
    yield f"mappers: {run / 'mappers'}"
