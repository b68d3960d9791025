"""Held-out evaluation: how good an adapter is on sources that it was never trained on."""

from typing import TypeAlias

from peft import PeftModel
from torch import Tensor

from unbraid.evaluation.metrics import dense, rank, ranking_scores, spearman
from unbraid.teacher.adapters.adapter_vectors import vectors_of
from unbraid.teacher.adapters.training_pairs import PairSet
from unbraid.teacher.model import Backbone

QUERIES, DOCUMENTS = 150, 500  # of a held-out source; each evaluation encodes them

Scores: TypeAlias = dict[str, float]  # of each held-out source: nDCG@10, or Spearman of graded pairs


def heldout_scores(model: Backbone | PeftModel, held_out: list[PairSet], *, batch_tokens: int) -> Scores:
    """Scores of the adapter that is switched on."""
    scores = {}
    for pairs in held_out:
        count = len(pairs.left.items) if pairs.grades is not None else min(QUERIES, len(pairs.left.items))
        left = vectors_of(model, pairs.left.inputs(range(count)), batch_tokens=batch_tokens)
        documents = pairs.right.inputs(range(len(pairs.right.items)))
        right = vectors_of(model, documents, batch_tokens=batch_tokens)
        scores[pairs.name] = heldout_score(pairs, left, right)
    return scores


def unadapted_scores(held_out: list[PairSet]) -> Scores:
    """Scores of the backbone without an adapter, from the vectors that the pairs hold."""
    return {pairs.name: heldout_score(pairs, pairs.left.vectors, pairs.right.vectors) for pairs in held_out}


def heldout_score(pairs: PairSet, left: Tensor, right: Tensor) -> float:
    """Spearman of graded pairs, else nDCG@10 of at most 150 left items among all right ones."""
    if pairs.grades is not None:
        cosines = (left[pairs.rows[:, 0]] * right[pairs.rows[:, 1]]).sum(-1)
        return spearman(cosines.numpy(), pairs.grades.numpy()).value
    queries = list(range(min(QUERIES, len(left))))
    names = [str(place) for place in range(len(right))]
    qrels = {str(query): {str(place): 1 for place in pairs.positives[query]} for query in queries}
    best = rank(dense(left[queries].numpy(), right.numpy()), len(queries), len(names))
    return ranking_scores(best, [str(query) for query in queries], names, qrels)["nDCG@10"].value
