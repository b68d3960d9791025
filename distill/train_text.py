"""Train one tier of the text students (text and code) on stored teacher vectors.

Labels -> base space -> targets -> first projection -> batches of neighbours -> loss. The targets are base vectors.

A cosine to the target alone teaches what is easy to predict and gives up the small differences between neighbours that
a search lives on: unseen texts get worse while the held-out cosine rises (docs/experiments.md). So a batch holds whole
neighbourhoods of the target space, and two of the losses compare similarities inside it. The first projection keeps the
backbone's own similarities, unseen sources are scored along the way, and the weights kept may be a running average.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from unbraid.base_encoders.prune_feed_forward import narrow_feed_forward
from unbraid.base_encoders.text_encoder import TextEncoder, start_text_encoder
from unbraid.distill.data.dev_sets import DevSet
from unbraid.distill.data.text_set import TextSet, held_out_cosine, tensors, text_set, text_tokenizer
from unbraid.distill.labels.label_store import read_shards
from unbraid.distill.recipe import Recipe, TextTier, TextTraining
from unbraid.distill.recipe_models import torch_dtype
from unbraid.distill.space.fit_space import fit_space
from unbraid.distill.unseen_scores import MEAN, unseen_scores
from unbraid.errors import DataError
from unbraid.progress import track
from unbraid.ridge import ridge
from unbraid.runtime.batching import token_budget_batches
from unbraid.training.checkpoint import Curves
from unbraid.training.loop import train
from unbraid.training.losses import cross_score_kl, student_loss
from unbraid.training.record import write_record

SAVE_EVERY = 250  # steps between resumable checkpoints, which are also scored
START_ITEMS = 12_288  # items that the first projection is fitted to
START_RIDGE = 1e-3  # ridge penalty of that projection, times the items and the variance of a pooled number
LONG = 128  # tokens of an item that only a share of the epochs uses


def train_text(
    recipe: Recipe,
    tier: TextTier,
    labels: Path,
    run: Path,
    *,
    backbone: Path,
    unseen: Sequence[DevSet] = (),
) -> TextEncoder:
    """Train the student `tier` of `recipe` on the label store `labels`; returns the encoder.

    `backbone` is the folder of the pre-trained encoder and its tokenizer. Writes run/base_space.safetensors and
    run/TIER (encoder, tokenizer.json, record). Interrupted training resumes from its last checkpoint and ends with
    the same weights. `unseen` are scored at every checkpoint. Raises DataError for fewer than ten items.
    """
    run.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    config = recipe.text[tier]
    space = fit_space(labels, run, seed=recipe.seed)
    tokenizer = text_tokenizer(backbone / "tokenizer.json", config.max_tokens)
    data = text_set(read_shards(labels), space, tokenizer, config)
    if not data.held_out:
        raise DataError(f"{labels}: {len(data.ids)} labelled items, at least 10 are needed")
    dtype = torch_dtype(recipe)
    encoder = start(config, backbone, data, dtype)

    def measure(trained: TextEncoder) -> Mapping[str, float]:
        found = {"held-out cosine": held_out_cosine(trained, data, dtype)}
        return {**found, **unseen_scores(unseen, trained, tokenizer, config.split_identifiers, dtype)}

    before = measure(encoder)
    begun = {name: weight.clone() for name, weight in encoder.state_dict().items()}
    curves = _fit(encoder, data, recipe, tier, run / f"{tier}.checkpoint.pt", dtype, measure)
    share = best_share(encoder, begun, config.shares, measure)
    encoder.save(run / tier)
    tokenizer.save(str(run / tier / "tokenizer.json"))
    results = {
        "items": len(data.ids),
        "energy kept by base": space.kept,
        "share of the trained weights": share,
    }
    write_record(
        run / tier,
        recipe,
        {name: [before[name], *values] if name in before else values for name, values in curves.items()},
        results,
    )
    (run / f"{tier}.checkpoint.pt").unlink(missing_ok=True)
    return encoder


def start(config: TextTraining, backbone: Path, data: TextSet, dtype: torch.dtype) -> TextEncoder:
    """The untrained student: the layers and neurons of the backbone that the recipe keeps, and a first projection.

    The projection is fitted to pairs of pooled vectors and targets, both from the first training items: the ridge
    regression, or the isometry that comes nearest (orthogonal Procrustes, Schönemann 1966), which changes no similarity
    of the backbone's centred vectors.
    """
    rows = list(range(data.held_out, min(len(data.ids), data.held_out + START_ITEMS)))
    encoder = start_text_encoder(
        backbone, data.targets.shape[1], layers=config.layers, pooled_layers=config.pooled_layers
    ).eval()
    batches = token_budget_batches([len(data.ids[row]) for row in rows], budget=config.batch_tokens)
    if config.feed_forward:
        ids, mask, _ = tensors(data, [rows[row] for row in batches[len(batches) // 2]])
        narrow_feed_forward(encoder.backbone, config.feed_forward, ids, mask)
    if config.frozen_embeddings:
        encoder.backbone.embeddings.requires_grad_(False)  # type: ignore[operator, union-attr]
    parts, targets = [], []
    with torch.no_grad(), torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
        for batch in track(batches, f"fit the projection to {len(rows):,} items", unit="batches"):
            ids, mask, target = tensors(data, [rows[row] for row in batch])
            parts.append(encoder.pooled(ids, mask).double().numpy())
            targets.append(target.double().numpy())
    pooled, target = np.concatenate(parts), np.concatenate(targets)
    mean, middle = pooled.mean(0), np.zeros(target.shape[1])
    if config.start == "isometry":
        left, _, right = np.linalg.svd(target.T @ (pooled - mean), full_matrices=False)
        weight = left @ right
    else:
        middle = target.mean(0)  # far from zero where the teacher's vectors are not centred
        penalty = START_RIDGE * float(pooled.var()) * len(pooled)
        weight = ridge(pooled - mean, target - middle, penalty)
    with torch.no_grad():
        encoder.projection.weight.copy_(torch.from_numpy(weight))
        encoder.projection.bias.copy_(torch.from_numpy(middle - weight @ mean))
    return encoder


def best_share(
    encoder: TextEncoder,
    begun: Mapping[str, Tensor],
    shares: Sequence[float],
    measure: Callable[[TextEncoder], Mapping[str, float]],
) -> float:
    """Mix the weights of `encoder` in place with those it `begun` with; returns the share of its own that was best.

    Training on some sources costs others; the mean of both ends costs less (Wortsman et al. 2022, WiSE-FT). `measure`
    gives the scores of unseen sets; kinds of sets count alike. One share is taken without measuring.
    """
    trained = {name: weight.clone() for name, weight in encoder.state_dict().items()}

    def mix(share: float) -> None:
        encoder.load_state_dict(
            {
                name: torch.lerp(begun[name], weight, share) if weight.is_floating_point() else weight
                for name, weight in trained.items()
            }
        )

    def quality(share: float) -> float:
        mix(share)
        return float(np.mean([value for name, value in measure(encoder).items() if name.endswith(MEAN)]))

    best = max(shares, key=quality) if len(shares) > 1 else shares[0]
    mix(best)
    return best


def epoch_batches(data: TextSet, config: TextTraining, seed: int, epoch: int) -> Iterator[list[int]]:
    """Batches of rows for one epoch, each of several neighbourhoods of targets.

    Of the items of more than LONG tokens, an epoch takes a share. A neighbourhood is a leaf of a tree of random
    projections (Dasgupta & Freund 2008), another tree in every epoch, so that neighbours vary.
    """
    rng = np.random.default_rng([seed, epoch])
    lengths = np.array([len(ids) for ids in data.ids[data.held_out :]])
    taken = rng.random(len(lengths)) < np.where(lengths > LONG, config.long_share, 1.0)
    leaves = _leaves(data.targets, data.held_out + np.flatnonzero(taken), config.neighbours, rng)
    rng.shuffle(leaves)
    together = max(1, config.batch // config.neighbours)
    for first in range(0, len(leaves), together):
        yield [int(row) for leaf in leaves[first : first + together] for row in leaf]


def _leaves(targets: np.ndarray, rows: np.ndarray, size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """`rows` in groups of at most `size` near ones: halved again and again along the line through two random rows."""
    if len(rows) <= size:
        return [rows]
    one, other = rng.choice(rows, 2, replace=False)
    line = targets[one].astype(np.float32) - targets[other].astype(np.float32)
    order = rows[np.argsort(targets[rows] @ line, kind="stable")]
    half = len(order) // 2
    return [*_leaves(targets, order[:half], size, rng), *_leaves(targets, order[half:], size, rng)]


def _fit(
    encoder: TextEncoder,
    data: TextSet,
    recipe: Recipe,
    tier: TextTier,
    checkpoint: Path,
    dtype: torch.dtype,
    measure: Callable[[TextEncoder], Mapping[str, float]],
) -> Curves:
    """Train in place; returns the curves."""
    config = recipe.text[tier]
    epochs = [list(epoch_batches(data, config, recipe.seed, epoch)) for epoch in range(sum(config.epochs))]
    batches = [batch for epoch in epochs for batch in epoch]
    ends = [sum(map(len, epochs[: sum(config.epochs[:cycle])])) for cycle in range(1, len(config.epochs) + 1)]
    trained = [weight for weight in encoder.backbone.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(
        [
            {"params": trained, "lr": config.learning_rate},
            {"params": encoder.projection.parameters(), "lr": config.projection_learning_rate},
        ],
        weight_decay=0.01,
    )
    average = (
        AveragedModel(encoder, multi_avg_fn=get_ema_multi_avg_fn(config.average)) if config.average else None
    )
    kept: TextEncoder = average.module if average else encoder
    encoder.eval()  # no dropout: a target is exact, and noise in the student only delays it

    def gradients(step: int) -> float:
        rows = batches[step]
        students, targets = [], []
        for part in token_budget_batches([len(data.ids[row]) for row in rows], budget=config.batch_tokens):
            ids, mask, target = tensors(data, [rows[place] for place in part])
            with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
                students.append(encoder(ids, mask).float())
            targets.append(target)
        student, target = torch.cat(students), torch.cat(targets)
        loss = student_loss(student, target, prefix_weight=config.prefix_weight, kl_weight=config.kl_weight)
        loss = loss + config.cross_weight * cross_score_kl(student, target, 0.05)
        loss.backward()
        return loss.item()

    curves = train(
        tier,
        encoder,
        optimizer,
        gradients,
        ends=ends,
        warmup=config.warmup,
        measure=lambda _: measure(kept),
        measure_every=SAVE_EVERY,
        checkpoint=checkpoint,
        save_every=SAVE_EVERY,
        settings=(config, recipe.seed, len(data.ids)),
        average=average,
    )
    encoder.load_state_dict(kept.state_dict())
    return curves
