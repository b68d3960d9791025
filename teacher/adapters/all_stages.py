"""All stages of a recipe: one adapter on pairs, then a copy of it for each task."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from peft import PeftModel

from unbraid.errors import DataError
from unbraid.tasks import SEARCH_MODES
from unbraid.teacher.adapter_file import lora_tensors, save_adapters
from unbraid.teacher.adapters.adapter_card import adapter_card
from unbraid.teacher.adapters.adapter_recipe import PAIR, Recipe, Stage
from unbraid.teacher.adapters.hard_negatives import mine_hard_negatives
from unbraid.teacher.adapters.heldout_eval import DOCUMENTS
from unbraid.teacher.adapters.train_stage import copy_tensors, train_stage
from unbraid.teacher.adapters.training_pairs import (
    PairSet,
    RawPairs,
    encode_pairs,
    read_pairs,
    some_pairs,
    texts_of,
    without,
)
from unbraid.teacher.inputs import Reader
from unbraid.teacher.loading import load_trainable
from unbraid.teacher.model import lora_config
from unbraid.teacher.routes import Route, Routes
from unbraid.training.record import recipe_table, write_record

SIDES = {
    "retrieval": SEARCH_MODES["retrieval"],
    "text-matching": SEARCH_MODES["symmetric"],
    "code": SEARCH_MODES["code"],
}


def train_adapters(
    recipe: Recipe,
    data: Path,
    run: Path,
    *,
    task: str | None = None,
    device: str | None = None,
    scores: str = "",
) -> Iterator[str]:
    """Train every adapter of `recipe` on the files in `data`; yields a line for each finished stage.

    Writes to `run` a folder for each stage (record.json, curves.png), and at the end adapters/ in the published
    layout with recipe and card, for `unbraid.teacher.load`. The card shows the tables `scores`. Finished stages are
    kept, and an interrupted one resumes from its last checkpoint. With `task` just the pair stage and that task's
    stage run: so several processes can train tasks at once when the pair stage is finished, and the same call without
    `task` puts their adapters together. Raises DataError when `run` was made by another recipe.
    """
    if task is not None and task not in recipe.task:
        raise DataError(f"the recipe has no task {task!r}: expected one of {', '.join(recipe.task)}")
    run.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    backbone, reader, routes = load_trainable(
        recipe.backbone, device=device, dtype=recipe.dtype, max_tokens=recipe.max_tokens
    )
    lora = lora_config(backbone.model, rank=recipe.rank, alpha=recipe.alpha, dropout=recipe.dropout)
    model = PeftModel(backbone, lora, adapter_name=PAIR)
    job = _Run(recipe, data, run, model, reader, routes)
    for name, stage in recipe.stages.items():
        if task is not None and name not in (PAIR, task):
            continue
        if name != PAIR:
            model.add_adapter(name, lora)
            copy_tensors(lora_tensors(model, PAIR), lora_tensors(model, name))
        folder = run / name
        if not _finished(folder, recipe, name):
            _run_stage(job, name, stage)
        copy_tensors(torch.load(folder / "adapter.pt", weights_only=True), lora_tensors(model, name))
        yield f"{name}: {folder}"
    if task is not None:
        return
    out = run / "adapters"
    save_adapters(model, out, list(recipe.task), dtype=torch.float16, backbone=recipe.backbone)
    (out / "recipe.json").write_text(json.dumps(recipe_table(recipe), indent=1) + "\n")
    (out / "README.md").write_text(adapter_card(recipe, run, scores=scores), encoding="utf-8")
    yield f"adapters: {out}"


@dataclass(frozen=True)
class _Run:
    """What all stages of a run need."""

    recipe: Recipe
    data: Path
    run: Path
    model: PeftModel
    reader: Reader
    routes: Routes


def _run_stage(job: _Run, name: str, stage: Stage) -> None:
    """Train one adapter and write its folder: weights, curves, and last the record that marks it finished."""
    recipe, run = job.recipe, job.run
    sets, held_out = _stage_data(job, name, stage)
    checkpoint = run / f"{name}.checkpoint.pt"
    device = next(job.model.parameters()).device.type
    autocast = partial(torch.autocast, device, dtype=torch.bfloat16, enabled=recipe.dtype == "bfloat16")
    curves, kept = train_stage(
        job.model, name, stage, recipe, sets, held_out, checkpoint=checkpoint, autocast=autocast
    )
    (run / name).mkdir(exist_ok=True)
    torch.save(dict(lora_tensors(job.model, name)), run / name / "adapter.pt")
    pairs = {one.name: len(one.rows) for one in sets}
    write_record(run / name, recipe, curves, {"pairs": pairs, **kept})
    checkpoint.unlink(missing_ok=True)


def _stage_data(job: _Run, name: str, stage: Stage) -> tuple[list[PairSet], list[PairSet]]:
    """Training and held-out pairs of a stage, encoded by the unadapted backbone. They share no text."""
    recipe, run = job.recipe, job.run
    source_of = {source.name: source for source in recipe.source}
    reading = json.dumps([recipe.backbone, recipe.max_tokens, recipe.dtype])
    cache = run / "vectors" / hashlib.sha256(reading.encode()).hexdigest()[:16]

    def read(source: str, *, train: bool) -> RawPairs:
        return read_pairs(
            source_of[source], job.data, seed=recipe.seed, train=train, pictures=run / "pictures"
        )

    def encode(pairs: RawPairs, sides: tuple[Route, Route]) -> PairSet:
        with job.model.disable_adapter():
            return encode_pairs(
                pairs, job.model, job.reader, sides, batch_tokens=recipe.batch_tokens, cache=cache
            )

    def sides(source: str) -> tuple[Route, Route]:
        tasks = (
            SIDES["code" if source_of[source].kind == "code" else "retrieval"]
            if name == PAIR
            else SIDES[name]
        )
        return job.routes[tasks[0]], job.routes[tasks[1]]

    # No stage may learn what evaluates a later one.
    everything = dict.fromkeys(source for other in recipe.stages.values() for source in other.held_out)
    apart = {one: some_pairs(read(one, train=False), DOCUMENTS, recipe.seed) for one in everything}
    known = {text for pairs in apart.values() for text in texts_of(pairs)}
    sets = []
    for source in stage.sources:
        encoded = encode(without(read(source, train=True), known), sides(source))
        if stage.negatives and encoded.grades is None:
            own = torch.tensor([min(one) for one in encoded.positives])
            negatives = mine_hard_negatives(
                encoded.left.vectors,
                encoded.right.vectors,
                encoded.positives,
                own,
                count=4 * stage.negatives,
                share=recipe.false_negative,
            )
            encoded = replace(encoded, negatives=negatives)
        sets.append(encoded)
    return sets, [encode(apart[source], sides(source)) for source in stage.held_out]


def _finished(folder: Path, recipe: Recipe, name: str) -> bool:
    """Whether a stage is finished. Raises DataError when it was made with a recipe that decides it otherwise."""
    record = folder / "record.json"
    if not record.exists():
        return False
    made, now = json.loads(record.read_text())["recipe"], recipe_table(recipe)
    common = [part for part in now if part not in ("version", "card", "source", "pair", "task")]
    changed = [part for part in common if made.get(part) != now[part]]
    if made["pair"] != now["pair"]:
        changed.append("pair")
    if name != PAIR and made["task"].get(name) != now["task"][name]:
        changed.append(f"task.{name}")
    # Held-out sources of every task count: no stage trains on what evaluates another.
    used = {*recipe.pair.sources, *recipe.stages[name].sources}
    used |= {source for stage in recipe.stages.values() for source in stage.held_out}
    # The words of a licence decide no weight.
    sources = [
        [one | {"licence": ""} for one in table["source"] if (one["alias"] or one["file"]) in used]
        for table in (made, now)
    ]
    held_out = [{one: stage["held_out"] for one, stage in table["task"].items()} for table in (made, now)]
    if sources[0] != sources[1] or held_out[0] != held_out[1]:
        changed.append("source")
    if changed:
        raise DataError(
            f"{record}: made with another {', '.join(changed)} than the recipe has now: choose another --run"
        )
    return True
