"""All stages of a recipe in order, from data to mappers. A stage with a record is finished and not run again."""

import json
import random
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from unbraid.bundle import SMALL
from unbraid.distill.data.captioned_pictures import picture_items
from unbraid.distill.data.training_items import TrainingItem, recipe_items
from unbraid.distill.fit_mappers import fit_mappers
from unbraid.distill.labels.write_labels import label, teacher_of_store
from unbraid.distill.recipe import Recipe
from unbraid.distill.recipe_models import backbone_folder, below_data, torch_dtype
from unbraid.distill.space.ceiling_report import write_ceiling
from unbraid.distill.space.fit_space import fit_space
from unbraid.distill.train_image import train_image
from unbraid.distill.train_static import train_static
from unbraid.distill.train_text import train_text
from unbraid.errors import DataError
from unbraid.teacher import load
from unbraid.teacher.silence_transformers import silence_transformers
from unbraid.training.record import recipe_table, write_record

LABELLED = ("seed", "teacher", "items", "source")  # the parts of a recipe that decide what is labelled


def run_stages(plan: Recipe, data: Path, run: Path, *, device: str | None = None) -> Iterator[str]:
    """Label, fit the base space, train text, nano and image, fit mappers; yields a line for each finished stage.

    Everything goes to `run`. `device` is the teacher's. Raises DataError when a stage in `run` was made with another
    recipe, KeyboardInterrupt when labelling was interrupted.
    """
    labels = run / "labels"
    untrained = [tier for tier in plan.text if not finished(run / tier, plan, (*LABELLED, "text"))]
    if untrained:
        yield _label(plan, data, labels, device)
        space = fit_space(labels, run, seed=plan.seed)
        yield f"base space: {space.kept:.2%} of the energy kept, {run / 'base_space.safetensors'}"
        yield write_ceiling(labels, space, run)
    for tier, config in plan.text.items():
        if tier in untrained:
            with silence_transformers():
                train_text(plan, tier, labels, run, backbone=backbone_folder(config.backbone, data))
        yield f"{tier}: {run / tier}"
    if plan.nano:
        if not finished(run / "nano", plan, (*LABELLED, "nano")):
            with silence_transformers():
                backbone = backbone_folder(plan.text[SMALL].backbone, data)
                train_static(plan, labels, run, backbone=backbone)
        yield f"nano: {run / 'nano'}"
    if plan.image.photos or plan.image.drawings:
        if not finished(run / "image", plan, (*LABELLED, "image")):
            name = below_data(plan.teacher, data)
            train_image(plan, data, run, partial(teacher_of_store, name, labels, device=device))
        yield f"image: {run / 'image'}"
    if not finished(run / "mappers", plan, (*LABELLED, "mapper")):
        with silence_transformers():
            fit_mappers(plan, data, run)
    yield f"mappers: {run / 'mappers'}"


def items_to_label(plan: Recipe, data: Path, labels: Path, *, most: int | None = None) -> list[TrainingItem]:
    """The recipe's texts and code, at most `most`, and its pictures if their own vectors are wanted.

    Pictures are unpacked into labels/pictures. The order is random, so any first part is a fair sample.
    """
    items = recipe_items(plan, data, most=most)
    if plan.image.own_vector:
        items += picture_items(data, plan.image.photos, labels / "pictures")
        random.Random(plan.seed).shuffle(items)
    return items


def _label(plan: Recipe, data: Path, labels: Path, device: str | None) -> str:
    """Label what is missing. The teacher is loaded only if something is."""
    if _labelled(labels, plan):
        return f"labels: {labels}"
    items = items_to_label(plan, data, labels)
    teacher = load(below_data(plan.teacher, data), device=device, dtype=torch_dtype(plan, device))
    done = label(items, labels, teacher)
    if done.interrupted:
        raise KeyboardInterrupt
    write_record(labels, plan, {}, {"items": done.before + done.now, "teacher": teacher.id})
    return f"labels: {done.before + done.now:,} items by {teacher.id}, {labels}"


def _labelled(labels: Path, plan: Recipe) -> bool:
    """Whether everything the recipe needs is labelled. Labels of another recipe are not refused: they lack items."""
    record = labels / "record.json"
    if not record.exists():
        return False
    made, now = json.loads(record.read_text())["recipe"], recipe_table(plan)
    same = all(made.get(name) == now[name] for name in LABELLED)
    return same and all(made["image"].get(name) == now["image"][name] for name in ("photos", "own_vector"))


def finished(folder: Path, plan: Recipe, parts: Sequence[str]) -> bool:
    """Whether the stage in `folder` is finished. Raises DataError when a recipe with other `parts` made it."""
    record = folder / "record.json"
    if not record.exists():
        return False
    made, now = json.loads(record.read_text())["recipe"], recipe_table(plan)
    for name in parts:
        if made.get(name) != now[name]:
            raise DataError(
                f"{record}: made with another {name} than the recipe has now: choose another --run"
            )
    return True
