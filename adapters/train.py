"""All stages of a recipe: one adapter on pairs, then a copy of it for each task."""

import json
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import Accelerator
from peft import PeftModel

from unbraid.adapters.judge import DOCUMENTS
from unbraid.adapters.mine import mine_negatives
from unbraid.adapters.pairs import PairSet, RawPairs, encode_pairs, read_pairs, some_pairs, texts_of, without
from unbraid.adapters.recipe import Recipe, Stage
from unbraid.adapters.stage import train_stage
from unbraid.errors import DataError
from unbraid.teacher.adapter_file import lora_tensors, save_adapters
from unbraid.teacher.inputs import Reader
from unbraid.teacher.minilm import BertReader, load_backbone, minilm_folder
from unbraid.teacher.model import Backbone, lora_config
from unbraid.teacher.routes import STARTER, Route, Routes
from unbraid.training.record import recipe_table, write_record

PAIR = "pair"  # name of the first stage and of its adapter
SIDES = {
    "retrieval": ("query", "document"),
    "text-matching": ("symmetric", "symmetric"),
    "code": ("code", "code"),
}


def train_adapters(recipe: Recipe, data: Path, run: Path, *, device: str = "cpu") -> PeftModel:
    """Train every adapter of `recipe` on the files in `data`; everything goes to `run`, finished stages are kept.

    Writes a folder per stage (record.json, curves.png) and adapters/ in the published layout. Interrupted training
    goes on from its last checkpoint. Raises DataError when `run` was made by another recipe.
    """
    run.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    accelerator = Accelerator(
        cpu=device == "cpu", mixed_precision="bf16" if recipe.precision == "bfloat16" else "no"
    )
    backbone, reader, routes = _backbone(recipe)
    model = PeftModel(
        backbone.to(device),
        lora_config(backbone.model, rank=recipe.rank, alpha=recipe.alpha, dropout=recipe.dropout),
        adapter_name=PAIR,
    )
    model.requires_grad_(False)
    stages: dict[str, Stage] = {PAIR: recipe.pair, **recipe.task}
    for name, stage in stages.items():
        if name != PAIR:
            torch.manual_seed(recipe.seed)
            model.add_adapter(name, model.peft_config[PAIR])
            _copy(model, PAIR, name)
        folder = run / name
        if not _finished(folder, recipe, name):
            _run_stage(model, name, stage, recipe, data, run, reader, routes, accelerator)
        _load(model, name, folder / "adapter.pt")
    save_adapters(model, run / "adapters", list(recipe.task), dtype=torch.float16)
    return model


def _run_stage(
    model: PeftModel,
    name: str,
    stage: Stage,
    recipe: Recipe,
    data: Path,
    run: Path,
    reader: Reader,
    routes: Routes,
    accelerator: Accelerator,
) -> None:
    sets, held_out = _stage_data(model, name, stage, recipe, data, run, reader, routes)
    checkpoint = run / f"{name}.checkpoint.pt"
    curves, kept = train_stage(
        model, name, stage, recipe, sets, held_out, checkpoint=checkpoint, accelerator=accelerator
    )
    (run / name).mkdir(exist_ok=True)
    torch.save(dict(lora_tensors(model, name)), run / name / "adapter.pt")
    pairs = {one.name: len(one.rows) for one in sets}
    write_record(run / name, recipe, curves, {"pairs": pairs, **kept})
    for leftover in run.glob(f"{name}.checkpoint*"):
        leftover.unlink()


def _stage_data(
    model: PeftModel,
    name: str,
    stage: Stage,
    recipe: Recipe,
    data: Path,
    run: Path,
    reader: Reader,
    routes: Routes,
) -> tuple[list[PairSet], list[PairSet]]:
    """Training and held-out pairs of a stage, encoded by the unadapted backbone. They share no text."""
    source_of = {source.name: source for source in recipe.source}

    def read(source: str, *, train: bool) -> RawPairs:
        return read_pairs(source_of[source], data, seed=recipe.seed, train=train, pictures=run / "pictures")

    def encode(pairs: RawPairs, sides: tuple[Route, Route]) -> PairSet:
        with model.disable_adapter():
            return encode_pairs(
                pairs, model, reader, sides, batch_tokens=recipe.batch_tokens, cache=run / "vectors"
            )

    def sides(source: str) -> tuple[Route, Route]:
        tasks = (
            SIDES["code" if source_of[source].kind == "code" else "retrieval"]
            if name == PAIR
            else SIDES[name]
        )
        return routes[tasks[0]], routes[tasks[1]]

    apart = [some_pairs(read(source, train=False), DOCUMENTS, recipe.seed) for source in stage.held_out]
    known = {text for pairs in apart for text in texts_of(pairs)}
    sets = []
    for source in stage.sources:
        encoded = encode(without(read(source, train=True), known), sides(source))
        if stage.negatives and encoded.grades is None:
            own = torch.tensor([min(one) for one in encoded.positives])
            negatives = mine_negatives(
                encoded.left.vectors,
                encoded.right.vectors,
                encoded.positives,
                own,
                count=4 * stage.negatives,
                share=recipe.false_negative,
            )
            encoded = replace(encoded, negatives=negatives)
        sets.append(encoded)
    return sets, [encode(pairs, sides(pairs.name)) for pairs in apart]


def _backbone(recipe: Recipe) -> tuple[Backbone, Reader, Routes]:
    folder = minilm_folder()
    return load_backbone(folder), BertReader(folder, recipe.max_tokens), STARTER


def _copy(model: PeftModel, source: str, target: str) -> None:
    with torch.no_grad():
        values = lora_tensors(model, source)
        for key, tensor in lora_tensors(model, target).items():
            tensor.copy_(values[key])


def _load(model: PeftModel, name: str, path: Path) -> None:
    state = torch.load(path, weights_only=True)
    with torch.no_grad():
        for key, tensor in lora_tensors(model, name).items():
            tensor.copy_(state[key])


def _finished(folder: Path, recipe: Recipe, name: str) -> bool:
    """Whether a stage is done, by the same recipe as far as it decides that stage."""
    record = folder / "record.json"
    if not record.exists():
        return False
    made, now = json.loads(record.read_text())["recipe"], json.loads(json.dumps(recipe_table(recipe)))
    parts = {part: part for part in now if part not in ("task", "card", "version")}
    stage = (lambda table: table["pair"]) if name == PAIR else (lambda table: table["task"][name])
    if any(made.get(part) != now[part] for part in parts) or stage(made) != stage(now):
        raise DataError(f"{record}: made by another recipe than the one given: choose another --run")
    return True
