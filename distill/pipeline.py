"""All stages of a recipe in order, from data to mappers. A stage with a record is finished and not run again."""

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from unbraid.bundle import SMALL
from unbraid.distill.cut_backbone import cut_backbone
from unbraid.distill.data.captioned_pictures import picture_items
from unbraid.distill.data.dev_sets import DevSet, dev_sets
from unbraid.distill.data.encoded_items import EncodedItems, encode_items
from unbraid.distill.data.item_sources import ENGLISH
from unbraid.distill.data.member_items import joined_items
from unbraid.distill.data.training_items import TrainingItem, recipe_items
from unbraid.distill.fit_mappers import fit_mappers
from unbraid.distill.labels.label_members import label_by_members, run_items
from unbraid.distill.labels.label_store import read_description
from unbraid.distill.labels.write_labels import label, teacher_of_store
from unbraid.distill.recipe import Recipe, TextTraining, recipe_licences
from unbraid.distill.recipe_models import backbone_folder, below_data, torch_dtype
from unbraid.distill.space.ceiling_report import write_ceiling
from unbraid.distill.space.fit_space import fit_space
from unbraid.distill.train_image import train_image
from unbraid.distill.train_static import train_static
from unbraid.distill.train_text import train_text
from unbraid.distill.trained_students import best_english, load_students, weights_hash
from unbraid.errors import DataError
from unbraid.teacher import load
from unbraid.teacher.members.member_spec import MEMBERS
from unbraid.teacher.silence_transformers import silence_transformers
from unbraid.training.record import recipe_table, write_record

UNSEEN_QUERIES, UNSEEN_DOCUMENTS = 80, 250  # of a dev set that is scored at every checkpoint
# The parts of a recipe that decide what is labelled.
LABELLED = ("seed", "teacher", "members", "items", "source")


def run_stages(plan: Recipe, data: Path, run: Path, *, device: str | None = None) -> Iterator[str]:
    """Label, fit the base space, train text, nano and image, fit mappers; yields a line for each finished stage.

    Everything goes to `run`. `device` is the teacher's. Raises DataError when a stage in `run` was made with another
    recipe, KeyboardInterrupt when labelling was interrupted.
    """
    labels = run / "labels"
    untrained = [tier for tier in plan.text if not finished(run / tier, plan, LABELLED, tier=tier)]
    if untrained:
        yield from _label(plan, data, labels, device)
        space = fit_space(labels, run, seed=plan.seed)
        yield f"base space: {space.kept:.2%} of the energy kept, {run / 'base_space.safetensors'}"
        yield write_ceiling(labels, space, run)
    unseen = _unseen(plan, data) if untrained else []
    for tier, config in plan.text.items():
        if tier in untrained:
            with silence_transformers():
                train_text(plan, tier, labels, run, backbone=_backbone(config, data, run), unseen=unseen)
        yield f"{tier}: {run / tier}"
    if plan.nano:
        if not finished(run / "nano", plan, (*LABELLED, "nano")):
            with silence_transformers():
                backbone = backbone_folder(plan.text[SMALL].backbone, data)
                train_static(plan, labels, run, backbone=backbone, more=_encoded(plan, data, run))
        yield f"nano: {run / 'nano'}"
    if plan.image.photos or plan.image.drawings:
        if not finished(run / "image", plan, (*LABELLED, "image")):
            name = str(run / "teacher") if plan.members else below_data(plan.teacher, data)
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
    if plan.members:
        items = joined_items(data)[: most or plan.items or None]
    else:
        items = recipe_items(plan, data, most=most)
    if plan.image.own_vector:
        items += picture_items(data, plan.image.photos, labels / "pictures")
        random.Random(plan.seed).shuffle(items)
    return items


def _label(plan: Recipe, data: Path, labels: Path, device: str | None) -> Iterator[str]:
    """Label what is missing; yields a line for each step. A teacher is loaded only if something is."""
    if _labelled(labels, plan):
        yield f"labels: {labels}"
        return
    if plan.members:
        dtype = torch_dtype(plan, device)
        with silence_transformers():
            yield from label_by_members(
                plan.members, data, labels.parent, items=plan.items, device=device, dtype=dtype
            )
        languages = Counter(one.language for one in run_items(data, labels.parent, plan.items))
        made_by = read_description(labels)["teacher"]
        licences = {MEMBERS[name].hub_id: MEMBERS[name].licence for name in plan.members}
        licences |= recipe_licences(plan)
        results = {"teacher": made_by, "languages": dict(languages), "licences": licences}
        write_record(labels, plan, {}, results)
        return
    items = items_to_label(plan, data, labels)
    teacher = load(below_data(plan.teacher, data), device=device, dtype=torch_dtype(plan, device))
    done = label(items, labels, teacher)
    if done.interrupted:
        raise KeyboardInterrupt
    write_record(labels, plan, {}, {"items": done.before + done.now, "teacher": teacher.id})
    yield f"labels: {done.before + done.now:,} items by {teacher.id}, {labels}"


def _backbone(config: TextTraining, data: Path, run: Path) -> Path:
    """The folder of a tier's backbone. One with a smaller vocabulary is made once, below run/backbones."""
    backbone = backbone_folder(config.backbone, data)
    if not config.vocabulary:
        return backbone
    smaller = run / "backbones" / f"{Path(config.backbone).name}-{config.vocabulary}"
    if not smaller.exists():
        cut_backbone(run_items(data, run, 0), backbone, config.vocabulary, smaller)
    return smaller


def _encoded(plan: Recipe, data: Path, run: Path) -> EncodedItems | None:
    """The items that nano learns from beside the labelled ones, none of them among those."""
    if plan.nano is None or not plan.nano.items:
        return None
    tier = best_english(plan)
    rest = run_items(data, run, 0)[plan.items :] if plan.items else []  # 0 items: all of them are labelled
    english = [item for item in rest if item.modality == "code" or item.language == ENGLISH]
    if not english:
        return None
    to_base = load_students(plan, run, dtype=torch_dtype(plan), tiers=[tier])[tier]
    return encode_items(english[: plan.nano.items], run / "nano_items", to_base, weights_hash(run, [tier]))


def _unseen(plan: Recipe, data: Path) -> list[DevSet]:
    """The dev sets that the recipe names. Raises DataError for a name that is none."""
    if not plan.unseen:
        return []
    sets = {one.name: one for one in dev_sets(data, queries=UNSEEN_QUERIES, documents=UNSEEN_DOCUMENTS)}
    if unknown := [name for name in plan.unseen if name not in sets]:
        raise DataError(f"unseen = {', '.join(unknown)}: expected some of {', '.join(sets)}")
    return [sets[name] for name in plan.unseen]


def _labelled(labels: Path, plan: Recipe) -> bool:
    """Whether everything the recipe needs is labelled. Labels of another recipe are not refused: they lack items."""
    record = labels / "record.json"
    if not record.exists():
        return False
    made, now = json.loads(record.read_text())["recipe"], recipe_table(plan)
    same = all(made.get(name) == now[name] for name in LABELLED)
    return same and all(made["image"].get(name) == now["image"][name] for name in ("photos", "own_vector"))


def finished(folder: Path, plan: Recipe, parts: Sequence[str], *, tier: str = "") -> bool:
    """Whether the stage in `folder` is finished. Raises DataError when a recipe with other `parts` made it.

    With `tier`, that tier's part of [text] counts too, and no other.
    """
    record = folder / "record.json"
    if not record.exists():
        return False
    made, now = json.loads(record.read_text())["recipe"], recipe_table(plan)
    if tier:
        made, now = made | made.get("text", {}), now | now["text"]
    for name in (*parts, tier) if tier else parts:
        # A field that an earlier version did not know is as good as an empty one.
        if (made.get(name) or None) != (now[name] or None):
            raise DataError(
                f"{record}: made with another {f'[text.{tier}]' if name == tier else name} than the recipe has now: "
                "choose another --run"
            )
    return True
