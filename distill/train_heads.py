"""Train the multi-vector heads of a finished bundle on pairs; its encoders stay as they are.

Token states of the encoder's own graph -> head -> late interaction -> loss. In use the head is a second look at what base
vectors and words have found. So it learns the rest: the scores that the loss sees are the sum of late interaction, the base
vectors' cosine and the share of the query's words that the document holds, each times a factor that is learnt too. A batch
holds whole neighbourhoods of base vectors, since far documents need no second look.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from unbraid.base_encoders.multi_vector_head import HEAD_FOLDER, MultiVectorHead, late_interaction
from unbraid.bundle import TextSpec
from unbraid.distill.data.head_pairs import HeadPairs, head_pairs
from unbraid.distill.data.token_states import TokenStates, token_states
from unbraid.distill.pipeline import finished
from unbraid.distill.recipe import HeadTraining, Recipe
from unbraid.embedder import Embedder
from unbraid.errors import BundleError, DataError
from unbraid.progress import track
from unbraid.ridge import ridge
from unbraid.runtime.text import TextRuntime
from unbraid.training.loop import train
from unbraid.training.record import write_record

NEAR = 48  # nearest documents that the neighbours in a batch are drawn from
SAME = 0.93  # cosine of two documents' base vectors from which they are no negatives of each other
SAMPLE = 40_000  # token states that the head's start is fitted to
TEMPERATURE = 0.05  # of the teacher's scores
SAVE_EVERY = 250  # steps
HELD_OUT = 120  # pairs
FACTORS = (20.0, 12.0, 1.0)  # of late interaction, cosine and words at first


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
    left = [tier for tier in config.tiers if not finished(run / tier / HEAD_FOLDER, recipe, ("seed", "head"))]
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
        _train(recipe, config, tier, specs["text"].id, pairs, texts, run)


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


class Scores(nn.Module):
    """A head and the factors of what its scores are added to."""

    def __init__(self, head: MultiVectorHead) -> None:
        """Factors begin at FACTORS."""
        super().__init__()
        self.head = head
        self.factors = nn.Parameter(torch.tensor(FACTORS).log())


def _train(
    recipe: Recipe,
    config: HeadTraining,
    tier: str,
    encoder: str,
    pairs: HeadPairs,
    texts: "Texts",
    run: Path,
) -> None:
    """Train the head of one tier, whose text encoder has the id `encoder`."""
    torch.manual_seed(recipe.seed)
    scores = Scores(start_head(config, texts.documents, texts.idf, recipe.seed))
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
        loss = head_loss(scores, config, texts, rows, pairs.teacher, labelled)
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
        settings=[recipe.seed, tier, encoder, config],
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


@dataclass(frozen=True)
class Texts:
    """The queries and documents as an encoder gives them, the `idf` of token ids, and the `special` ones."""

    queries: TokenStates
    documents: TokenStates
    idf: np.ndarray
    special: Sequence[int]


def both_scores(
    scores: Scores, texts: Texts, queries: Sequence[int], documents: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """The scores [A, B] of queries with documents, by their rows: late interaction times its factor, and all parts' sum."""
    states, real, words = batch(texts.queries, queries, texts.special)
    query, weights = scores.head(states, real)
    states, real, kept = batch(texts.documents, documents, texts.special)
    document, _ = scores.head(states, real)
    of_late, of_base, of_words = scores.factors.exp()
    late = of_late * late_interaction(query, weights * words, document, kept)
    base = torch.from_numpy(texts.queries.base[list(queries)] @ texts.documents.base[list(documents)].T)
    shared = shared_words(
        [texts.queries.ids[row] for row in queries],
        [texts.documents.ids[row] for row in documents],
        texts.idf,
    )
    return late, late + of_base * base + of_words * torch.from_numpy(shared)


def head_loss(
    scores: Scores,
    config: HeadTraining,
    texts: Texts,
    rows: Sequence[int],
    teacher: tuple[np.ndarray, np.ndarray],
    labelled: np.ndarray,
) -> Tensor:
    """InfoNCE of the pairs at `rows`, and the KL divergence of labelled ones from the teacher's scores."""
    late, whole = both_scores(scores, texts, rows, rows)
    base = texts.documents.base[list(rows)]
    same = torch.from_numpy(base @ base.T > SAME) & ~torch.eye(len(rows), dtype=torch.bool)
    target = torch.arange(len(rows))
    loss = cross_entropy(whole.masked_fill(same, -1e4), target)
    loss = loss + config.alone_weight * cross_entropy(late.masked_fill(same, -1e4), target)
    known = np.flatnonzero(labelled[list(rows)])
    if len(known) > 1:
        query, document = (torch.from_numpy(side[np.asarray(rows)[known]]) for side in teacher)
        wanted = log_softmax(query @ document.T / TEMPERATURE, -1)
        found = log_softmax(whole[known][:, known], -1)
        apart = kl_div(found, wanted, log_target=True, reduction="batchmean")
        loss = loss + config.kl_weight * apart * len(known) / len(rows)
    return loss


@torch.no_grad()
def held_out_rank(scores: Scores, texts: Texts, held_out: Sequence[int], near: Sequence[np.ndarray]) -> float:
    """Mean reciprocal rank of the document of each held-out query among those near it, by all parts' sum."""
    ranks = []
    for row in held_out:
        _, whole = both_scores(scores, texts, [row], [row, *near[row].tolist()])
        ranks.append(1 + int((whole[0, 1:] >= whole[0, 0]).sum()))
    return float(np.mean(1 / np.asarray(ranks)))


def batch(items: TokenStates, rows: Sequence[int], special: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """States float32 [B, T, width] of the items at `rows`, bool [B, T] which tokens are real, and which of them are words."""
    longest = max(len(items.ids[row]) for row in rows)
    states = np.zeros((len(rows), longest, items[rows[0]].shape[1]), np.float32)
    real, words = np.zeros((2, len(rows), longest), bool)
    for place, row in enumerate(rows):
        found = items[row]
        states[place, : len(found)] = found
        real[place, : len(found)] = True
        words[place, : len(found)] = ~np.isin(items.ids[row], special)
    return torch.from_numpy(states), torch.from_numpy(real), torch.from_numpy(words)


def shared_words(
    queries: Sequence[Sequence[int]], documents: Sequence[Sequence[int]], idf: np.ndarray
) -> np.ndarray:
    """The share of each query's tokens, by their IDF, that each document holds: float32 [A, B]."""
    vocabulary = sorted({token for ids in queries for token in ids})
    place = {token: column for column, token in enumerate(vocabulary)}
    held = np.zeros((len(documents), len(vocabulary)), np.float32)
    for row, ids in enumerate(documents):
        held[row, [place[token] for token in set(ids) if token in place]] = 1
    asked = np.zeros((len(queries), len(vocabulary)), np.float32)
    for row, ids in enumerate(queries):
        asked[row, [place[token] for token in set(ids)]] = 1
    asked *= idf[vocabulary]
    shared: np.ndarray = (asked @ held.T) / np.maximum(asked.sum(1, keepdims=True), 1e-6)
    return shared


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


def start_head(config: HeadTraining, documents: TokenStates, idf: np.ndarray, seed: int) -> MultiVectorHead:
    """A head whose vectors are the principal components of the states, and whose weights are a ridge fit to the root of IDF."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(documents))
    states, ids, count = [], [], 0
    for row in order:
        states.append(documents[row].astype(np.float32))
        ids += list(documents.ids[row])
        if (count := count + len(documents.ids[row])) >= SAMPLE:
            break
    sample = np.concatenate(states)
    mean, spread = sample.mean(0), sample.std(0) + 1e-6
    head = MultiVectorHead(sample.shape[1], config.dim, inner=config.inner, hidden=config.hidden)
    standard = (sample - mean) / spread
    wanted = np.sqrt(idf[ids] + 0.1)
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
