"""Fit the task mappers on the students' base vectors; the last stage before export.

Labels -> read-outs (closed form) -> pairs, encoded by every text tier -> a fit for each search mode
(fit_search_mode.py). Mappers end in the teacher's own task space, so a student's query can search an index that the
teacher built.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from unbraid.base_encoders.image_encoder import load_image_encoder
from unbraid.distill.data.captioned_pictures import photographs
from unbraid.distill.data.encoded_items import stored
from unbraid.distill.data.member_items import compared, held_out_texts
from unbraid.distill.fit_search_mode import Pairs, fit_mode, held_out_score
from unbraid.distill.labels.label_store import read_description, read_shards
from unbraid.distill.recipe import MapperTraining, Recipe
from unbraid.distill.recipe_models import torch_dtype
from unbraid.distill.space.base_space import load_base_space
from unbraid.distill.space.task_space import task_target
from unbraid.distill.trained_students import ToBase, load_students, weights_hash
from unbraid.errors import DataError
from unbraid.io.jsonl import read_rows
from unbraid.mappers import LinearMapper, save_mapper
from unbraid.progress import track
from unbraid.ridge import ridge
from unbraid.tasks import SEARCH_MODES
from unbraid.training.data_split import is_dev
from unbraid.training.record import write_record

ROWS_PER_FILE = 1500
TOKENS = 128  # read of a text: a mapper sees a vector, not a length, and long texts took most of the time
ROWS_HELD_OUT = 300  # of a source
PICTURES = 64  # encoded at a time
LEAST_HELD_OUT = 50  # pairs; files with fewer are scored as one
READ_OUT = 12288  # labelled texts that the read-outs are fitted on
RIDGE = 1e-6  # ridge penalty an item


def fit_mappers(recipe: Recipe, data: Path, run: Path) -> dict[str, float]:
    """Fit every mode of `recipe`; writes run/mappers/TASK.safetensors and returns held-out scores.

    The scores come in pairs, "MODE, SOURCE, read-out" and "MODE, SOURCE, mapped": mean reciprocal rank, or Spearman for
    graded pairs. They also chose the step, so they are a little too good.
    """
    torch.manual_seed(recipe.seed)
    students = stored_students(recipe, run)
    needed = {task for mode in recipe.mapper for task in SEARCH_MODES[mode]}
    if absent := sorted(needed - read_description(run / "labels")["tasks"].keys()):
        raise DataError(f"{run / 'labels'}: no labels for {', '.join(absent)}: label again, with these tasks")
    starts = read_outs(run)
    banned = held_out_texts(data) if recipe.members else frozenset[str]()
    results: dict[str, float] = {}
    curves: dict[str, list[float]] = {}
    (run / "mappers").mkdir(parents=True, exist_ok=True)
    for mode, config in recipe.mapper.items():
        tasks = list(dict.fromkeys(SEARCH_MODES[mode]))
        train, dev = _encode_pairs(config, data, students, recipe.seed, banned)
        if config.captions:
            seen, dev["pictures"] = _picture_pairs(config.captions, data, run, students)
            train = Pairs(
                torch.cat([train.left, seen.left], 1),
                torch.cat([train.right, seen.right], 1),
                torch.cat([train.grades, seen.grades]),
            )
        before = [starts[task] for task in tasks]
        fitted, curve = fit_mode(
            config, before, train, list(dev.values()), seed=recipe.seed, whole=len(config.held_out)
        )
        for task, mapper in zip(tasks, fitted, strict=True):
            save_mapper(mapper, run / "mappers" / f"{task}.safetensors")
        for name, pairs in dev.items():
            start = [LinearMapper(matrix) for matrix in before]
            results[f"{mode}, {name}, read-out"] = held_out_score(config, start, pairs, train.right)
            results[f"{mode}, {name}, mapped"] = held_out_score(config, fitted, pairs, train.right)
        curves[f"{mode}, held out"] = curve
    write_record(run / "mappers", recipe, curves, results)
    return results


def stored_students(recipe: Recipe, run: Path) -> dict[str, ToBase]:
    """Every text tier of `recipe`, as `load_students` gives them; what they encode is kept in run/mapper_items."""
    students = load_students(recipe, run, dtype=torch_dtype(recipe), max_tokens=TOKENS)
    return {
        tier: stored(to_base, run / "mapper_items", f"{tier} {TOKENS} {weights_hash(run, list(students))}")
        for tier, to_base in students.items()
    }


def read_outs(run: Path) -> dict[str, Tensor]:
    """W [D, D] of each task that the labels answer: least squares from the teacher's base vectors to its task vectors.

    Students are left out. A fit to theirs shrinks every direction that they predict badly, and unseen sources lose by it
    (docs/experiments.md).
    """
    space = load_base_space(run / "base_space.safetensors")
    vectors: dict[str, list[np.ndarray]] = {route: [] for route in space.routes}
    rows = 0
    for shard in read_shards(run / "labels"):
        part = shard.take([row for row, modality in enumerate(shard.modalities) if modality == "text"])
        for route, found in vectors.items():
            found.append(part.vectors[route])
        rows += len(part.texts)
        if rows >= READ_OUT:
            break
    by_route = {route: np.concatenate(found)[:READ_OUT] for route, found in vectors.items()}
    base = space.project(by_route)
    solved = {
        route: torch.from_numpy(ridge(base, task_target(given), RIDGE * len(base))).float()
        for route, given in by_route.items()
    }
    return {task: solved[route] for task, route in read_description(run / "labels")["tasks"].items()}


def _encode_pairs(
    config: MapperTraining,
    data: Path,
    students: Mapping[str, ToBase],
    seed: int,
    banned: AbstractSet[str],
) -> tuple[Pairs, dict[str, Pairs]]:
    """Training pairs, and held-out pairs by source, as base vectors of every student; they share no text."""
    train, dev = training_rows(config, data, seed, banned)
    encoded = {name: _base_pairs(pairs, config, students) for name, pairs in dev.items()}
    return _base_pairs(train, config, students), encoded


def training_rows(
    config: MapperTraining, data: Path, seed: int, banned: AbstractSet[str] = frozenset()
) -> tuple[list[dict], dict[str, list[dict]]]:
    """Rows to train on, and the held-out rows by source: whole sources, and the dev rows of each file.

    Rows with a text in `banned` (in the form of `compared`) are left out of both. Raises DataError when either is empty.
    """
    rows = {
        name: [
            line.row
            for line in read_rows(data / name)
            if not banned or banned.isdisjoint(map(compared, _sides(line.row, config)))
        ]
        for name in (*config.held_out, *config.files)
    }
    dev = {name: rows[name] for name in config.held_out}
    dev |= {name: [row for row in rows[name] if is_dev(row)] for name in config.files}
    few = {name for name in config.files if len(dev[name]) < LEAST_HELD_OUT}
    small = [row for name in dev if name in few for row in dev[name]]
    dev = {name: _sample(found, ROWS_HELD_OUT, seed) for name, found in dev.items() if name not in few}
    if small:
        dev["small sources"] = small
    known = {text for found in dev.values() for row in found for text in _sides(row, config)}
    train: list[dict] = []
    for name in config.files:
        rest = [row for row in rows[name] if not is_dev(row) and known.isdisjoint(_sides(row, config))]
        train += _sample(rest, ROWS_PER_FILE, seed)
    held_out = sum(map(len, dev.values()))
    if not train or not held_out:
        raise DataError(f"{', '.join(config.files)}: {len(train)} training and {held_out} held-out pairs")
    return train, dev


def _sample(pairs: list[dict], most: int, seed: int) -> list[dict]:
    rng = np.random.default_rng(seed)
    return [pairs[row] for row in rng.permutation(len(pairs))[:most]]


def _sides(row: dict[str, Any], config: MapperTraining) -> tuple[str, str]:
    """The two texts of a pair."""
    left, right = ("a", "b") if config.loss == "cosent" else ("anchor", "positive")
    return str(row[left]), str(row[right])


def _base_pairs(pairs: list[dict], config: MapperTraining, students: Mapping[str, ToBase]) -> Pairs:
    left, right = (list(side) for side in zip(*(_sides(row, config) for row in pairs), strict=True))
    grades = torch.tensor([float(row.get("score", 1.0)) for row in pairs])
    both = [(to_base(left, "text"), to_base(right, config.modality)) for to_base in students.values()]
    return Pairs(torch.stack([one for one, _ in both]), torch.stack([other for _, other in both]), grades)


@torch.inference_mode()
def _picture_pairs(
    names: Sequence[str], data: Path, run: Path, students: Mapping[str, ToBase]
) -> tuple[Pairs, Pairs]:
    """First captions and their pictures, to train on and held out, as base vectors of every student and of the tower."""
    pictures = list(photographs(data, tuple(names)))
    tower = load_image_encoder(run / "image")
    seen = []
    for first in track(range(0, len(pictures), PICTURES), "encode pictures", unit="batches"):
        pixels = [tower.preprocess(Image.fromarray(one.pixels)) for one in pictures[first : first + PICTURES]]
        seen.append(tower(torch.from_numpy(np.stack(pixels))))
    captions = torch.stack(
        [to_base([one.captions[0] for one in pictures], "text") for to_base in students.values()]
    )
    whole = Pairs(captions, torch.cat(seen).expand(len(students), -1, -1), torch.ones(len(pictures)))
    dev = torch.tensor([one.dev for one in pictures])
    train, held_out = (
        Pairs(whole.left[:, rows], whole.right[:, rows], whole.grades[rows]) for rows in (~dev, dev)
    )
    return train, held_out
