"""One stage: one adapter trained on some sources and chosen by others.

Read top to bottom: a step's batch -> its loss -> the steps -> what is kept.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from accelerate import Accelerator
from peft import PeftModel
from torch import Tensor, nn

from unbraid.progress import counting
from unbraid.teacher.adapter_file import lora_tensors
from unbraid.teacher.adapters.adapter_recipe import Recipe, Stage
from unbraid.teacher.adapters.encode import Encoded, backward
from unbraid.teacher.adapters.hard_negatives import false_negatives
from unbraid.teacher.adapters.heldout_eval import Judgement, judge, unadapted
from unbraid.teacher.adapters.training_pairs import PairSet
from unbraid.teacher.inputs import Input
from unbraid.training.checkpoint import Curves, load_checkpoint, save_checkpoint
from unbraid.training.losses import cosent, cosine_loss, distribution_kl, late_scores, nce, over_prefixes
from unbraid.training.schedule import learning_rate_factor

SAVE_EVERY = 20  # steps between resumable checkpoints


@dataclass(frozen=True)
class StepBatch:
    """Inputs of a step: the left items, then their positives, then hard negatives."""

    inputs: list[Input]
    count: int  # of pairs
    unadapted: Tensor  # float32 [inputs, H]: the backbone's own vectors
    grades: Tensor | None  # float [count]
    excluded: Tensor | None  # bool [count, positives + negatives]: no negatives of that pair


def draw(sets: Sequence[PairSet], stage: Stage, *, share: float, key: str) -> StepBatch:
    """The batch of the step that `key` names: pairs of one source, each item once.

    Sources are drawn by the square root of their size, so that a large one does not drown the others.
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
    accelerator: Accelerator,
) -> tuple[Curves, dict[str, object]]:
    """Train `adapter` of `model` in place; returns the curves and what was kept.

    An interrupted stage goes on from `checkpoint` and ends where it would have ended. What is kept is the step and
    the strength with the largest mean gain over the held-out sources among those that lose nowhere more than the
    recipe's tolerance; a strength of s is the weight average of s adapted and 1 - s unadapted.
    """
    torch.manual_seed(recipe.seed)  # a stage drops the same whether or not earlier ones ran in this process
    model.eval()  # the backbone has no dropout; the adapter's own is on in steps, not in held-out scores
    model.set_adapter(adapter)
    tensors = lora_tensors(model, adapter)
    parameters = nn.ParameterList(list(tensors.values()))
    dropout = nn.ModuleList(
        module for name, module in model.named_modules() if name.endswith(f"lora_dropout.{adapter}")
    )
    optimizer = torch.optim.AdamW(parameters, lr=stage.learning_rate, weight_decay=stage.weight_decay)
    scale = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate_factor(step, ends=[stage.steps], warmup=stage.warmup)
    )
    before = unadapted(held_out)
    kept = _Kept(before, recipe.tolerance)
    curves: Curves = {"loss": [], **{f"{name}, held out": [score] for name, score in before.scores.items()}}
    shared = replace(recipe, version="", card=(), task={})
    settings, first = (shared, stage, [(one.name, len(one.rows)) for one in sets]), 0
    kept_path = checkpoint.with_suffix(".kept.pt")
    if checkpoint.exists():
        curves, first = load_checkpoint(checkpoint, parameters, optimizer, scale, settings=settings)
        kept.load(kept_path, first)
    # As in the paper each step draws a batch of texts and, where there are any, one of texts with pictures.
    kinds = [[one for one in sets if (one.right.texts is None) == pictures] for pictures in (False, True)]
    groups = [group for group in kinds if group]
    with counting(f"train {adapter}", unit="steps", total=stage.steps, done=first) as tell:
        for step in range(first, stage.steps):
            dropout.train()
            key = f"{recipe.seed} {adapter} {step}"
            curves["loss"].append(_add_gradients(model, stage, recipe, groups, key, accelerator))
            accelerator.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            scale.step()
            dropout.eval()
            done = step + 1
            if held_out and (done % stage.check_every == 0 or done == stage.steps):
                kept.offer(_judge(model, held_out, recipe, curves), tensors, {"step": done, "strength": 1.0})
            if done % SAVE_EVERY == 0 or done == stage.steps:
                kept.save(kept_path)
                save_checkpoint(
                    checkpoint, parameters, optimizer, scale, settings=settings, curves=curves, done=done
                )
            tell(1)
    if held_out:
        _try_strengths(model, adapter, held_out, recipe, kept, stage.steps)
        copy_tensors(kept.best, tensors)
    return curves, kept.report() if held_out else {}


def _add_gradients(
    model: PeftModel,
    stage: Stage,
    recipe: Recipe,
    groups: Sequence[Sequence[PairSet]],
    key: str,
    accelerator: Accelerator,
) -> float:
    """Draw the batches of the step named `key`, one a group, and add their gradients; returns the sum of the losses."""
    late = stage.weights.late > 0 or stage.weights.agreement > 0
    total = 0.0
    for number, group in enumerate(groups):
        batch = draw(group, stage, share=recipe.false_negative, key=f"{key} {number}")
        loss = backward(
            model,
            batch.inputs,
            joint_loss(stage, recipe.prefixes, batch),
            batch_tokens=recipe.batch_tokens,
            project=late and batch.grades is None,
            cache=recipe.gradient_cache,
            autocast=accelerator.autocast,
        )
        total += loss.item()
    return total


def copy_tensors(source: Mapping[tuple[str, str], Tensor], target: Mapping[tuple[str, str], Tensor]) -> None:
    """Overwrite the tensors of `target` with those of `source`, in place."""
    with torch.no_grad():
        for key, tensor in target.items():
            tensor.copy_(source[key])


def _judge(model: PeftModel, held_out: list[PairSet], recipe: Recipe, curves: Curves) -> Judgement:
    found = judge(model, held_out, batch_tokens=recipe.batch_tokens)
    for name, score in found.scores.items():
        curves[f"{name}, held out"].append(score)
    return found


def _try_strengths(
    model: PeftModel, adapter: str, held_out: list[PairSet], recipe: Recipe, kept: "_Kept", last: int
) -> None:
    """Offer weaker versions of the last step's adapter: B is scaled, so that B A is."""
    tensors = lora_tensors(model, adapter)
    full = {key: tensor.detach().clone() for key, tensor in tensors.items()}
    for strength in recipe.strengths:
        if strength == 1.0:
            continue
        copy_tensors({key: full[key] * (strength if key[1] == "B" else 1.0) for key in full}, tensors)
        found = judge(model, held_out, batch_tokens=recipe.batch_tokens)
        kept.offer(found, tensors, {"step": last, "strength": strength})


class _Kept:
    """The best version of an adapter so far, by its gains over the unadapted backbone."""

    def __init__(self, before: Judgement, tolerance: float) -> None:
        self.before, self.tolerance = before, tolerance
        self.best: dict[tuple[str, str], Tensor] = {}
        self.what: dict[str, object] = {}
        self.rank: tuple[bool, float] = (False, float("-inf"))
        self.tried: list[dict[str, object]] = []

    def offer(
        self, found: Judgement, tensors: dict[tuple[str, str], Tensor], what: dict[str, object]
    ) -> None:
        gains = found.gains(self.before)
        safe = min(gains) >= -self.tolerance
        rank = (safe, sum(gains) / len(gains) if safe else min(gains))
        rounded = {name: round(score, 4) for name, score in found.scores.items()}
        self.tried.append({**what, "scores": rounded, "least gain": round(min(gains), 4)})
        if rank > self.rank:
            self.rank, self.what = rank, {**what, "scores": rounded}
            self.best = {key: tensor.detach().clone() for key, tensor in tensors.items()}

    def report(self) -> dict[str, object]:
        return {"unadapted": self.before.scores, "kept": self.what, "safe": self.rank[0], "tried": self.tried}

    def save(self, path: Path) -> None:
        state = {"best": self.best, "what": self.what, "rank": self.rank, "tried": self.tried}
        torch.save(state, path.with_suffix(".tmp"))
        path.with_suffix(".tmp").replace(path)

    def load(self, path: Path, done: int) -> None:
        """What `save` wrote at step `done` or a little later: the run may have ended before its checkpoint."""
        state = torch.load(path, weights_only=True)
        self.best, self.what, self.rank = state["best"], state["what"], state["rank"]
        self.tried = [one for one in state["tried"] if one["step"] <= done]
