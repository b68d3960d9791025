"""How much of a task's gain a mapper on the frozen base recovers, against training the encoder for that task.

    python benchmarks/recovered.py RUN --recipe starter --mode code SET... [--steps 300] [--own-code]

RUN is a finished run of `unbraid train distill`. Three systems on the same sets: base vectors, mapped base vectors, and a copy of
the small text encoder that starts as base and mapper together and goes on for some steps with the task's own labels as its
targets, every weight free. Recovered = (mapper - base) / (trained - base). With --own-code the copy is trained on the
labelled code alone, towards the base, and encodes the documents: a code encoder of its own beside the shared one.
"""

import argparse
import copy
import tempfile
from collections.abc import Callable
from itertools import count, islice
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from msgspec.structs import replace
from torch import Tensor
from torch.nn.functional import normalize

from unbraid.base_encoders.text_encoder import TextEncoder, load_text_encoder
from unbraid.bundle import SMALL
from unbraid.distill.data.text_set import TextSet, tensors, text_set, text_tokenizer
from unbraid.distill.labels.label_store import read_description, read_shards
from unbraid.distill.recipe import TextTraining, read_recipe
from unbraid.distill.space.base_space import load_base_space
from unbraid.distill.space.task_space import task_target
from unbraid.distill.train_text import epoch_batches
from unbraid.distill.trained_students import encode
from unbraid.evaluation import Retrieval, Sts, read_dataset
from unbraid.evaluation.datasets.dataset import sample
from unbraid.evaluation.evaluate import retrieval_scores
from unbraid.evaluation.metrics import dense, spearman
from unbraid.items import Code
from unbraid.mappers import load_mapper
from unbraid.runtime.code_text import split_identifiers
from unbraid.tasks import SEARCH_MODES
from unbraid.training.loop import train
from unbraid.training.losses import cross_score_kl, student_loss

Encode: TypeAlias = Callable[[list[str]], Tensor]  # texts -> vectors [n, D]
RATE, PROJECTION_RATE = 1e-4, 2e-5
WARMUP = 20  # steps


class Route:
    """Stands for the base space where the targets are one route's task vectors."""

    def __init__(self, route: str) -> None:
        """The route whose vectors are the targets."""
        self.route = route

    def project(self, vectors: dict[str, np.ndarray]) -> np.ndarray:
        """Task vectors [n, 512]."""
        return task_target(vectors[self.route])


def score(dataset: Retrieval | Sts, query: Encode, document: Encode) -> float:
    """nDCG@10, or Spearman, of the two encoders' vectors."""
    sts = isinstance(dataset, Sts)
    left, right = (
        (dataset.a, dataset.b) if sts else (list(dataset.queries.values()), list(dataset.documents.values()))
    )
    q, d = (
        normalize(encode([split_identifiers(i) if isinstance(i, Code) else str(i) for i in items]), dim=-1)
        for encode, items in ((query, left), (document, right))
    )
    if sts:
        return spearman((q * d).sum(1).numpy(), np.asarray(dataset.scores)).value
    return retrieval_scores(dataset, dense(q.numpy(), d.numpy()))["nDCG@10"].value


def train_further(student: TextEncoder, data: TextSet, config: TextTraining, seed: int, steps: int) -> None:
    """Train for some steps with the loss of the text stage."""
    optimizer = torch.optim.AdamW(
        [
            {"params": student.backbone.parameters(), "lr": RATE},
            {"params": student.projection.parameters(), "lr": PROJECTION_RATE},
        ],
        weight_decay=0.01,
    )
    endless = (rows for epoch in count(100) for rows in epoch_batches(data, config, seed, epoch))
    batches = list(islice(endless, steps))

    def gradients(step: int) -> float:
        ids, mask, target = tensors(data, batches[step])
        made = student(ids, mask)
        loss = student_loss(made, target, prefix_weight=config.prefix_weight, kl_weight=config.kl_weight)
        loss = loss + config.cross_weight * cross_score_kl(made, target, 0.05)
        loss.backward()
        return loss.item()

    with tempfile.TemporaryDirectory() as folder:
        train(
            "a copy",
            student,
            optimizer,
            gradients,
            ends=[steps],
            warmup=WARMUP / steps,
            measure=lambda _: {},
            measure_every=steps,
            checkpoint=Path(folder) / "checkpoint.pt",
            save_every=steps,
            settings=None,
        )


def code_alone(data: TextSet, modalities: list[str]) -> TextSet:
    """The labelled code of a set."""
    rows = [row for row, modality in enumerate(modalities) if modality == "code"]
    return TextSet([data.ids[row] for row in rows], data.targets[rows])


def main() -> None:
    """Train, score and print a row a system."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("sets", nargs="+", type=Path)
    parser.add_argument("--recipe", type=Path, default=Path("starter"))
    parser.add_argument("--mode", choices=tuple(SEARCH_MODES), required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--limit", type=int, default=200, help="queries a set; STS sets stay whole")
    parser.add_argument("--own-code", action="store_true")
    given = parser.parse_args()
    recipe, labels = read_recipe(given.recipe), given.run / "labels"
    torch.manual_seed(recipe.seed)
    config = recipe.text[SMALL]
    tokenizer = text_tokenizer(given.run / SMALL / "tokenizer.json", config.max_tokens)
    shared = load_text_encoder(given.run / SMALL).eval()
    query, document = (
        load_mapper(given.run / "mappers" / f"{task}.safetensors") for task in SEARCH_MODES[given.mode]
    )
    datasets = [
        read_dataset(path, mode=None if given.mode == "symmetric" else given.mode) for path in given.sets
    ]
    datasets = [one if isinstance(one, Sts) else sample(one, given.limit) for one in datasets]

    def base(texts: list[str]) -> Tensor:
        return encode(shared, tokenizer, texts)

    def mapped(mapper: Callable[[Tensor], Tensor], to_base: Encode) -> Encode:
        def to_task(texts: list[str]) -> Tensor:
            with torch.inference_mode():
                return mapper(to_base(texts))

        return to_task

    student = copy.deepcopy(shared)

    def trained(texts: list[str]) -> Tensor:
        return encode(student, tokenizer, texts)

    shards = list(read_shards(labels))
    if given.own_code:
        every = replace(config, english=False)  # so that the rows are those of the shards
        data = text_set(shards, load_base_space(given.run / "base_space.safetensors"), tokenizer, every)
        kinds = [kind for shard in shards for kind in shard.modalities if kind != "image"]
        data = code_alone(data, kinds)
        last = "code encoder of its own, mapper", mapped(query, base), mapped(document, trained)
    else:
        route = read_description(labels)["tasks"][SEARCH_MODES[given.mode][1]]
        data = text_set(shards, Route(route), tokenizer, config)
        with torch.no_grad():
            student.projection.weight.copy_(document.matrix() @ shared.projection.weight)
            student.projection.bias.copy_(document.matrix() @ shared.projection.bias)
        last = "encoder trained for the task", trained, trained
    train_further(student, data, config, recipe.seed, given.steps)
    student.eval()
    systems = [("base", base, base), ("base and mapper", mapped(query, base), mapped(document, base)), last]
    names = [path.name.split(".")[0] for path in given.sets]
    print(f"| {given.mode} | {' | '.join(names)} | mean |\n| --- |{' --- |' * (len(names) + 1)}")
    means = []
    for name, left, right in systems:
        scores = [score(dataset, left, right) for dataset in datasets]
        means.append(float(np.mean(scores)))
        print(f"| {name} | {' | '.join(f'{one:.3f}' for one in scores)} | {means[-1]:.4f} |", flush=True)
    if not given.own_code:
        print(f"recovered: {(means[1] - means[0]) / (means[2] - means[0]):.0%}")


main()
