"""Train the multi-vector heads of a finished bundle on pairs; its encoders stay as they are.

Token states of the encoder's own graph -> head -> late interaction -> loss. In use the head is a second look at what base
vectors and words have found. So it learns the rest: the scores that the loss sees are the sum of late interaction, the base
vectors' cosine and the share of the query's words that the document holds, each times a factor that is learnt too. A batch
holds whole neighbourhoods of base vectors, since far documents need no second look. What whole states say on texts like no
training text is kept by a part of the loss of its own (head_loss.states_scores).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from unbraid.base_encoders.multi_vector_head import HEAD_FOLDER, MultiVectorHead
from unbraid.bundle import TextSpec
from unbraid.distill.data.head_pairs import HeadPairs, head_pairs
from unbraid.distill.data.token_states import TokenStates, token_states
from unbraid.distill.head_loss import Scores, Texts, head_loss, held_out_rank, root_idf
from unbraid.distill.pipeline import finished
from unbraid.distill.recipe import HeadTraining, Recipe
from unbraid.embedder import Embedder
from unbraid.errors import BundleError, DataError
from unbraid.items import Code, Item
from unbraid.progress import track
from unbraid.ridge import ridge
from unbraid.runtime.text import TextRuntime
from unbraid.training.loop import train
from unbraid.training.record import write_record
from unbraid.vectors import normalize

NEAR = 48  # nearest documents that the neighbours in a batch are drawn from
SAMPLE = 40_000  # token states that the head's start is fitted to
SAVE_EVERY = 250  # steps
HELD_OUT = 120  # pairs


def train_heads(recipe: Recipe, data: Path, run: Path, model: Embedder, labels: Path | None) -> None:
    """Train a head for each tier that the recipe names; writes run/TIER/multi_vector.

    `labels` is a store of teacher vectors that may hold some of the texts. A finished head is left alone, interrupted
    training resumes. Raises DataError for a recipe without [head] or without pairs, BundleError for a tier that the bundle
    does not have.
    """
    if (config := recipe.head) is None:
        raise DataError("the recipe has no table [head]: see distill/recipes/heads.toml")
    if unknown := sorted({*config.tiers} - model.bundle.tiers.keys()):
        raise BundleError(f"{model.name} has no tier {unknown[0]}; it has {', '.join(model.bundle.tiers)}")
    decides = ("seed", "head", "look_tier")
    left = [tier for tier in config.tiers if not finished(run / tier / HEAD_FOLDER, recipe, decides)]
    pairs = head_pairs(config, data, labels, recipe.seed) if left else None
    for tier in left:
        assert pairs is not None
        specs = model.bundle.tiers[tier]
        encoder = TextRuntime(model.bundle.folder, specs["text"], None)
        queries = tokens_of(encoder, pairs.queries, ["text"] * len(pairs.queries), specs, config.query_tokens)
        documents = tokens_of(encoder, pairs.documents, pairs.kinds, specs, config.document_tokens)
        folder = run / "states"
        special = encoder.reader.frame
        idf = inverse_frequencies(documents, special, encoder.tokenizer.get_vocab_size())
        texts = Texts(
            token_states(encoder, queries, folder), token_states(encoder, documents, folder), idf, special
        )
        if tier == recipe.look_tier:
            texts = beside_other_tiers(texts, pairs, model, tier)
        _train(recipe, config, tier, specs["text"].id, pairs, texts, run)


def beside_other_tiers(texts: Texts, pairs: HeadPairs, model: Embedder, tier: str) -> Texts:
    """The same with the base vectors that an index holds of documents, and of the queries that it asks them by.

    Documents that another tier than the head's encodes have its vectors, and so have their queries. Those of the head's tier
    keep the head's. That its own base vectors count in a search, beside those of another tier, is not in the loss.
    """
    items: list[Item] = [
        Code(text) if kind == "code" else text
        for text, kind in zip(pairs.documents, pairs.kinds, strict=True)
    ]
    rows = [row for row, route in enumerate(model.route(items, side="document")) if route.tier != tier]
    queries, documents = texts.queries.base.copy(), texts.documents.base.copy()
    if rows:
        queries[rows] = model.encode([pairs.queries[row] for row in rows], side="query", on_truncate="ignore")
        documents[rows] = model.encode([items[row] for row in rows], side="document", on_truncate="ignore")
    return replace(
        texts,
        queries=replace(texts.queries, base=queries),
        documents=replace(texts.documents, base=documents),
    )


def tokens_of(
    encoder: TextRuntime, texts: Sequence[str], kinds: Sequence[str], specs: Mapping[str, TextSpec], most: int
) -> list[list[int]]:
    """The first `most` token ids of each text, read as its kind is."""
    found: list[list[int]] = [[]] * len(texts)
    for kind in set(kinds):
        rows = [row for row, one in enumerate(kinds) if one == kind]
        ids, _ = encoder.with_spec(specs[kind]).tokenize([texts[row] for row in rows])
        for row, one in zip(rows, ids, strict=True):
            found[row] = one[:most]
    return found


def _train(
    recipe: Recipe,
    config: HeadTraining,
    tier: str,
    encoder: str,
    pairs: HeadPairs,
    texts: Texts,
    run: Path,
) -> None:
    """Train the head of one tier, whose text encoder has the id `encoder`."""
    torch.manual_seed(recipe.seed)
    states, ids = sample_states(texts.documents, recipe.seed)
    scores = Scores(start_head(config, states, texts.idf[ids]))
    mean = torch.from_numpy(normalize(states).mean(0))
    near = nearest(texts.queries.base, texts.documents.base, pairs.kinds)
    labelled = pairs.labelled
    held_out = np.arange(min(HELD_OUT, len(near) // 10))
    trained = np.arange(len(near)) >= len(held_out)
    names = np.asarray(pairs.sources)
    by_source = [np.flatnonzero((names == name) & trained) for name in sorted(set(pairs.sources))]
    by_source = [rows for rows in by_source if len(rows)]
    shares = np.sqrt([len(rows) for rows in by_source])
    average = AveragedModel(scores, multi_avg_fn=get_ema_multi_avg_fn(config.average))

    def gradients(step: int) -> float:
        rng = np.random.default_rng([recipe.seed, step])
        sources = rng.choice(len(shares), config.groups, p=shares / shares.sum())
        # Steps of labelled pairs alone have more of them to compare with the teacher.
        usable = trained & labelled if rng.random() < 0.5 else trained
        rows = draw(rng, [by_source[one] for one in sources], near, usable, config.neighbours)
        loss = head_loss(scores, config, texts, rows, pairs.teacher, labelled, mean)
        loss.backward()
        return loss.item()

    def measure(done: int) -> Mapping[str, float]:
        return {"held-out MRR": held_out_rank(average.module, texts, held_out, near)}

    begun = held_out_rank(scores, texts, held_out, near)
    others = [one for name, one in scores.named_parameters() if one.requires_grad and name != "factors"]
    optimizer = torch.optim.AdamW(
        [
            {"params": others, "lr": config.learning_rate, "weight_decay": 0.02},
            {"params": [scores.factors], "lr": 3 * config.learning_rate, "weight_decay": 0.0},
        ]
    )
    checkpoint = run / f"{tier}.head.checkpoint.pt"
    curves = train(
        f"head of {tier}",
        scores,
        optimizer,
        gradients,
        ends=(config.steps,),
        warmup=config.warmup,
        measure=measure,
        measure_every=SAVE_EVERY,
        checkpoint=checkpoint,
        save_every=SAVE_EVERY,
        settings=[recipe.seed, tier, encoder, config, tier == recipe.look_tier],
        average=average,
    )
    kept: Scores = average.module
    kept.head.save(run / tier / HEAD_FOLDER)
    curves["held-out MRR"].insert(0, begun)
    results = {
        "encoder": encoder,
        "pairs": len(pairs.queries),
        "labelled": int(labelled.sum()),
        "factors": [round(one, 3) for one in kept.factors.exp().tolist()],
    }
    write_record(run / tier / HEAD_FOLDER, recipe, curves, results)
    checkpoint.unlink(missing_ok=True)


def draw(
    rng: np.random.Generator,
    sources: Sequence[np.ndarray],
    near: Sequence[np.ndarray],
    usable: np.ndarray,
    neighbours: int,
) -> list[int]:
    """Rows of a batch: a random one of each of `sources` and some of those near it; `usable` bool [n] where there are any."""
    rows: list[int] = []
    for source in sources:
        some = source[usable[source]]
        first = int(rng.choice(some if len(some) else source))
        others = near[first][usable[near[first]]]
        rows += [first, *rng.choice(others, min(len(others), neighbours), replace=False).tolist()]
    return list(dict.fromkeys(rows))


def inverse_frequencies(
    documents: Sequence[Sequence[int]], special: Sequence[int], vocabulary: int
) -> np.ndarray:
    """IDF of each token id over `documents`, 0 for special tokens: float32 [vocabulary]."""
    held = np.zeros(vocabulary)
    for ids in documents:
        held[list(set(ids))] += 1
    idf = np.log1p((len(documents) - held + 0.5) / (held + 0.5)).astype(np.float32)
    idf[list(special)] = 0
    return idf


def sample_states(documents: TokenStates, seed: int) -> tuple[np.ndarray, list[int]]:
    """SAMPLE states float32 [n, width] of random documents, or all of fewer, and their token ids."""
    states: list[np.ndarray] = []
    ids: list[int] = []
    for row in np.random.default_rng(seed).permutation(len(documents)):
        states.append(documents[row].astype(np.float32))
        ids += list(documents.ids[row])
        if len(ids) >= SAMPLE:
            break
    return np.concatenate(states), ids


def start_head(config: HeadTraining, sample: np.ndarray, idf: np.ndarray) -> MultiVectorHead:
    """A head whose vectors are the principal components of states, and whose weights are a ridge fit to the root of IDF.

    `sample` float32 [n, width] are states, `idf` [n] that of their tokens.
    """
    mean, spread = sample.mean(0), sample.std(0) + 1e-6
    head = MultiVectorHead(sample.shape[1], config.dim, inner=config.inner, hidden=config.hidden)
    standard = (sample - mean) / spread
    wanted = root_idf(idf)
    solved = ridge(standard, (wanted - wanted.mean())[:, None], 10.0)
    unit = (sample - mean) / np.linalg.norm(sample - mean, axis=1, keepdims=True)
    _, vectors = np.linalg.eigh(unit.T @ unit)
    with torch.no_grad():
        head.mean.copy_(torch.from_numpy(mean))
        head.spread.copy_(torch.from_numpy(spread))
        main = vectors[:, ::-1][:, : config.dim].T * spread
        head.projection.weight.copy_(torch.from_numpy(main / np.sqrt(len(mean)) * 8))
        head.weight.weight.copy_(torch.from_numpy(solved.reshape(1, -1)))
        head.weight.bias.fill_(float(wanted.mean()))
    return head


def nearest(queries: np.ndarray, documents: np.ndarray, kinds: Sequence[str]) -> list[np.ndarray]:
    """For each pair the rows of other documents of its kind, those nearest to its query and its document: at most NEAR."""
    found: list[np.ndarray] = [np.empty(0, np.int64)] * len(kinds)
    for kind in sorted(set(kinds)):
        rows = np.flatnonzero([one == kind for one in kinds])
        most = min(NEAR, len(rows) - 1)
        for first in track(range(0, len(rows), 1000), f"neighbours of {kind}", unit="blocks"):
            some = rows[first : first + 1000]
            close = (queries[some] + documents[some]) @ documents[rows].T
            close[np.arange(len(some)), np.arange(first, first + len(some))] = -np.inf
            best = np.argpartition(-close, most - 1, axis=1)[:, :most] if most else close[:, :0].astype(int)
            for place, row in enumerate(some):
                found[row] = rows[best[place]]
    return found
