"""What a multi-vector head learns from a batch of pairs: scores of its own beside those that a search has already, and the loss."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax, normalize

from unbraid.base_encoders.multi_vector_head import MultiVectorHead, late_interaction
from unbraid.distill.data.token_states import TokenStates
from unbraid.distill.recipe import HeadTraining

SAME = 0.93  # cosine of two documents' base vectors from which they are no negatives of each other
TEMPERATURE = 0.05  # of the teacher's scores
STATES_TEMPERATURE = 0.03  # of late interaction by whole states
# Factors at first: of late interaction, of the cosine, of shared words; and of late interaction against whole states.
FACTORS = (20.0, 12.0, 1.0, 20.0)
LATE, BASE, WORDS, STATES = range(4)


class Scores(nn.Module):
    """A head and the factors of what its scores are added to."""

    def __init__(self, head: MultiVectorHead) -> None:
        """Factors begin at FACTORS."""
        super().__init__()
        self.head = head
        self.factors = nn.Parameter(torch.tensor(FACTORS).log())


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
    """The scores [A, B] of queries with documents, by their rows: late interaction, and the sum of all parts."""
    states, real, words = batch(texts.queries, queries, texts.special)
    query, weights = scores.head(states, real)
    states, real, kept = batch(texts.documents, documents, texts.special)
    document, _ = scores.head(states, real)
    factors = scores.factors.exp()
    late = late_interaction(query, weights * words, document, kept)
    base = torch.from_numpy(texts.queries.base[list(queries)] @ texts.documents.base[list(documents)].T)
    shared = shared_words(
        [texts.queries.ids[row] for row in queries],
        [texts.documents.ids[row] for row in documents],
        texts.idf,
    )
    total = factors[LATE] * late + factors[BASE] * base + factors[WORDS] * torch.from_numpy(shared)
    return late, total


def states_scores(texts: Texts, rows: Sequence[int], mean: Tensor) -> Tensor:
    """Late interaction [B, B] of the pairs at `rows` by whole states: unit length, less `mean` [width], unit length again.

    Query tokens weigh as the root of their IDF, as a new head's do.
    """
    states, _, words = batch(texts.queries, rows, texts.special)
    query = normalize(normalize(states, dim=-1) - mean, dim=-1)
    weights = torch.zeros(words.shape)
    for place, row in enumerate(rows):
        ids = list(texts.queries.ids[row])
        weights[place, : len(ids)] = torch.from_numpy(root_idf(texts.idf[ids]))
    states, _, kept = batch(texts.documents, rows, texts.special)
    document = normalize(normalize(states, dim=-1) - mean, dim=-1)
    return late_interaction(query, weights * words, document, kept)


def root_idf(idf: np.ndarray) -> np.ndarray:
    """What a token of this IDF weighs at first: a little also where every text has it."""
    roots: np.ndarray = np.sqrt(idf + 0.1).astype(np.float32)
    return roots


def head_loss(
    scores: Scores,
    config: HeadTraining,
    texts: Texts,
    rows: Sequence[int],
    teacher: tuple[np.ndarray, np.ndarray],
    labelled: np.ndarray,
    mean: Tensor,
) -> Tensor:
    """InfoNCE of the pairs at `rows`, and KL divergences: of labelled ones from the teacher's scores, of all from those of
    whole states, whose mean unit vector is `mean`.
    """
    late, total = both_scores(scores, texts, rows, rows)
    base = texts.documents.base[list(rows)]
    same = torch.from_numpy(base @ base.T > SAME) & ~torch.eye(len(rows), dtype=torch.bool)
    target = torch.arange(len(rows))
    loss = cross_entropy(total.masked_fill(same, -1e4), target)
    alone = scores.factors[LATE].exp() * late
    loss = loss + config.alone_weight * cross_entropy(alone.masked_fill(same, -1e4), target)
    if config.states_weight:
        wanted = log_softmax(states_scores(texts, rows, mean) / STATES_TEMPERATURE, -1)
        found = log_softmax(scores.factors[STATES].exp() * late, -1)
        loss = loss + config.states_weight * kl_div(found, wanted, log_target=True, reduction="batchmean")
    known = np.flatnonzero(labelled[list(rows)])
    if len(known) > 1:
        query, document = (torch.from_numpy(side[np.asarray(rows)[known]]) for side in teacher)
        wanted = log_softmax(query @ document.T / TEMPERATURE, -1)
        found = log_softmax(total[known][:, known], -1)
        apart = kl_div(found, wanted, log_target=True, reduction="batchmean")
        loss = loss + config.kl_weight * apart * len(known) / len(rows)
    return loss


@torch.no_grad()
def held_out_rank(scores: Scores, texts: Texts, held_out: Sequence[int], near: Sequence[np.ndarray]) -> float:
    """Mean reciprocal rank of the document of each held-out query among those near it, by all parts' sum."""
    ranks = []
    for row in held_out:
        _, total = both_scores(scores, texts, [row], [row, *near[row].tolist()])
        ranks.append(1 + int((total[0, 1:] >= total[0, 0]).sum()))
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
