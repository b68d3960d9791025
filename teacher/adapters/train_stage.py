"""One stage: an adapter is trained on some sources, and others choose the version that is kept.

The batch of a step -> its loss -> the training -> the best version.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from msgspec import structs
from peft import PeftModel
from torch import Tensor, nn

from unbraid.teacher.adapter_file import lora_tensors
from unbraid.teacher.adapters.adapter_recipe import Recipe, Stage
from unbraid.teacher.adapters.adapter_vectors import Encoded, backward
from unbraid.teacher.adapters.hard_negatives import false_negatives
from unbraid.teacher.adapters.heldout_eval import Scores, heldout_scores, unadapted_scores
from unbraid.teacher.adapters.training_pairs import PairSet
from unbraid.teacher.inputs import Input
from unbraid.training.checkpoint import Curves
from unbraid.training.loop import train
from unbraid.training.losses import cosent, cosine_loss, distribution_kl, late_scores, nce, over_prefixes

SAVE_EVERY = 20  # steps between resumable checkpoints

AdapterTensors: TypeAlias = Mapping[tuple[str, str], Tensor]  # by module and side, see adapter_file.Adapters


@dataclass(frozen=True)
class StepBatch:
    """Inputs of a step: the left items, then their positives, then hard negatives."""

    inputs: list[Input]
    count: int  # of pairs
    unadapted: Tensor  # float32 [inputs, H]: the backbone's own vectors
    grades: Tensor | None  # float [count]
    excluded: Tensor | None  # bool [count, positives + negatives]: no negatives of that pair


def draw_batch(sets: Sequence[PairSet], stage: Stage, *, share: float, key: str) -> StepBatch:
    """A batch: pairs of one source, each item once; `key` seeds the draw.

    Sources are drawn by the square root of their size, so that a large one does not crowd out the others.
    """
    rng = random.Random(key)
    chosen = rng.choices(sets, [len(one.rows) ** 0.5 for one in sets])[0]
    total = len(chosen.rows)
    if chosen.grades is not None:
        return _graded(chosen, rng.sample(range(total), min(stage.batch, total)))
    left: dict[int, int] = {}
    for place in rng.sample(range(total), min(4 * stage.batch, total)):
        a, b = chosen.rows[place].tolist()
        if a not in left and b not in left.values():
            left[a] = b
        if len(left) == stage.batch:
            break
    queries, documents = list(left), list(left.values())
    for query in queries:
        negatives = [place for place in chosen.negatives[query].tolist() if place >= 0]
        documents += [
            place
            for place in rng.sample(negatives, min(stage.negatives, len(negatives)))
            if place not in documents
        ]
    q, d = chosen.left.vectors[queries], chosen.right.vectors[documents]
    scores = q @ d.T
    known = torch.tensor([[place in chosen.positives[query] for place in documents] for query in queries])
    return StepBatch(
        chosen.left.inputs(queries) + chosen.right.inputs(documents),
        len(queries),
        torch.cat([q, d]),
        None,
        known | false_negatives(scores, scores.diagonal(), share),
    )


def _graded(chosen: PairSet, places: Sequence[int]) -> StepBatch:
    assert chosen.grades is not None
    a, b = chosen.rows[places].T.tolist()
    vectors = torch.cat([chosen.left.vectors[a], chosen.right.vectors[b]])
    return StepBatch(
        chosen.left.inputs(a) + chosen.right.inputs(b), len(a), vectors, chosen.grades[places], None
    )


def joint_loss(stage: Stage, prefixes: Sequence[int], batch: StepBatch) -> Callable[[Encoded], Tensor]:
    """The loss of a step as a function of its encoded inputs.

    Pairs: NCE of the single vectors over the prefixes, NCE of the late-interaction scores, and the KL divergence
    between the two (arXiv 2506.18902, L_joint; with hard negatives its L_NCE+). Graded pairs: CoSENT over the
    prefixes. All: the recovery term.
    """
    weights, temperature = stage.weights, stage.temperature

    def loss(found: Encoded) -> Tensor:
        device = found.dense.device
        left, right = found.dense[: batch.count], found.dense[batch.count :]
        dims = (*prefixes, left.shape[1])
        recovery = weights.recovery * cosine_loss(found.dense, batch.unadapted.to(device))
        if batch.grades is not None:
            grades = batch.grades.to(device)
            graded = over_prefixes(
                lambda a, b: cosent((a * b).sum(-1), grades, stage.graded_temperature), left, right, dims
            )
            return weights.dense * graded + recovery
        excluded = None if batch.excluded is None else batch.excluded.to(device)
        total = recovery + weights.dense * over_prefixes(
            lambda a, b: nce(a @ b.T, temperature, excluded=excluded), left, right, dims
        )
        if found.tokens is not None:
            tokens = found.tokens[: batch.count]
            lengths = (tokens != 0).any(-1).sum(-1, keepdim=True)
            late = late_scores(tokens, found.tokens[batch.count :]) / lengths
            total = total + weights.late * nce(late, temperature, excluded=excluded)
            total = total + weights.agreement * distribution_kl(
                left @ right.T, late, temperature, excluded=excluded
            )
        return total

    return loss


def train_stage(
    model: PeftModel,
    adapter: str,
    stage: Stage,
    recipe: Recipe,
    sets: Sequence[PairSet],
    held_out: list[PairSet],
    *,
    checkpoint: Path,
    autocast: Callable[[], AbstractContextManager[None]],
) -> tuple[Curves, dict[str, object]]:
    """Train `adapter` of `model` in place; returns the curves, and the report on the version that was kept.

    An interrupted stage resumes from `checkpoint` and ends with the same weights. With held-out sources the version
    kept is the step and the scale with the largest mean gain among those that lose on no source more than the
    recipe's tolerance. A scale of s is the weight average of s adapted and 1 - s unadapted.
    """
    torch.manual_seed(recipe.seed)  # dropout must not depend on earlier stages in this process
    model.eval()  # the backbone has no dropout; the adapter's own is on in steps, not in held-out scores
    model.set_adapter(adapter)
    tensors = lora_tensors(model, adapter)
    dropout = nn.ModuleList(
        module for name, module in model.named_modules() if name.endswith(f"lora_dropout.{adapter}")
    )
    parameters = nn.ParameterList(list(tensors.values()))
    before = unadapted_scores(held_out)
    best = BestVersion(before, recipe.tolerance)
    # As in the paper a step draws a batch of texts and, where there are any, one of texts with pictures.
    kinds = [[one for one in sets if (one.right.texts is None) == pictures] for pictures in (False, True)]
    groups = [group for group in kinds if group]
    late = stage.weights.late > 0 or stage.weights.agreement > 0

    def gradients(step: int) -> float:
        dropout.train()
        total = 0.0
        for number, group in enumerate(groups):
            key = f"{recipe.seed} {adapter} {step} {number}"
            batch = draw_batch(group, stage, share=recipe.false_negative, key=key)
            loss = backward(
                model,
                batch.inputs,
                joint_loss(stage, recipe.prefixes, batch),
                batch_tokens=recipe.batch_tokens,
                project=late and batch.grades is None,
                cache=recipe.gradient_cache,
                autocast=autocast,
            )
            total += loss.item()
        dropout.eval()
        return total

    def measure(done: int) -> Scores:
        if not held_out:
            return {}
        scores = heldout_scores(model, held_out, batch_tokens=recipe.batch_tokens)
        best.offer(scores, tensors, step=done, scale=1.0)
        return {f"{name}, held out": score for name, score in scores.items()}

    curves = train(
        adapter,
        parameters,
        torch.optim.AdamW(parameters, lr=stage.learning_rate, weight_decay=stage.weight_decay),
        gradients,
        ends=[stage.steps],
        warmup=stage.warmup,
        measure=measure,
        measure_every=stage.check_every,
        checkpoint=checkpoint,
        save_every=SAVE_EVERY,
        settings=(
            structs.replace(recipe, version="", card=(), task={}),
            stage,
            [(one.name, len(one.rows)) for one in sets],
        ),
        extra={"best": best},
    )
    if not held_out:
        return curves, {}
    last = {key: tensor.detach().clone() for key, tensor in tensors.items()}
    for scale in recipe.scales:
        if scale != 1.0:  # B is scaled, and so is B A
            copy_tensors({key: last[key] * (scale if key[1] == "B" else 1.0) for key in last}, tensors)
            scores = heldout_scores(model, held_out, batch_tokens=recipe.batch_tokens)
            best.offer(scores, tensors, step=stage.steps, scale=scale)
    copy_tensors(best.tensors, tensors)
    first = {f"{name}, held out": [score] for name, score in before.items()}
    return {name: first.get(name, []) + values for name, values in curves.items()}, best.report()


def copy_tensors(source: AdapterTensors, target: AdapterTensors) -> None:
    """Overwrite the tensors of `target` with those of `source`, in place."""
    with torch.no_grad():
        for key, tensor in target.items():
            tensor.copy_(source[key])


class BestVersion:
    """The best version of an adapter so far, by its gains over the unadapted backbone; saved with the checkpoint."""

    def __init__(self, before: Scores, tolerance: float) -> None:
        """`before` are the scores of the unadapted backbone; a version that loses more than `tolerance` is not safe."""
        self.before, self.tolerance = before, tolerance
        self.tensors: AdapterTensors = {}
        self.about: dict[str, object] = {}
        self.rank: tuple[bool, float] = (False, float("-inf"))
        self.tried: list[dict[str, object]] = []

    def offer(self, scores: Scores, tensors: AdapterTensors, *, step: int, scale: float) -> None:
        """Take a copy of `tensors` if they are better: safe before unsafe, then by mean gain, else by least loss."""
        gains = [score - self.before[name] for name, score in scores.items()]
        safe = min(gains) >= -self.tolerance
        rank = (safe, sum(gains) / len(gains) if safe else min(gains))
        about = {
            "step": step,
            "scale": scale,
            "scores": {name: round(one, 4) for name, one in scores.items()},
        }
        self.tried.append({**about, "least gain": round(min(gains), 4)})
        if rank > self.rank:
            self.rank, self.about = rank, about
            self.tensors = {key: tensor.detach().clone() for key, tensor in tensors.items()}

    def report(self) -> dict[str, object]:
        """What is kept, what was tried, and whether the kept version is safe, for the record."""
        return {"unadapted": self.before, "kept": self.about, "safe": self.rank[0], "tried": self.tried}

    def state_dict(self) -> dict[str, Any]:
        """The state to save with a checkpoint."""
        return {"tensors": self.tensors, "about": self.about, "rank": self.rank, "tried": self.tried}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.tensors, self.about = state["tensors"], state["about"]
        self.rank, self.tried = state["rank"], state["tried"]
