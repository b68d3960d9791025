"""Losses: functions of tensors, with no model inside."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax, normalize, softplus

# A caption with a cosine above this to a positive one is not a negative. "a large red slice" and "a large blue slice",
# which have to be told apart, have .92.
SAME_CAPTION = 0.97


def cosine_loss(student: Tensor, target: Tensor) -> Tensor:
    """Mean of 1 - cosine of student [B, D] and target [B, D]; for unit vectors half the squared distance."""
    return 1 - (normalize(student, dim=-1) * normalize(target, dim=-1)).sum(-1).mean()


def prefix_cosine_loss(student: Tensor, target: Tensor, prefixes: Sequence[int]) -> Tensor:
    """Mean over `prefixes` of the cosine loss of the vectors cut to that many dimensions (Matryoshka)."""
    losses = [cosine_loss(student[:, :dim], target[:, :dim]) for dim in prefixes]
    return torch.stack(losses).mean()


def score_kl(student: Tensor, target: Tensor, temperature: float) -> Tensor:
    """KL divergence from the target's in-batch neighbour distribution to the student's.

    student and target are unit vectors [B, D]; an item's cosine to itself is left out. Returns a scalar in
    nats, the mean over items.
    """
    own = torch.eye(len(student), dtype=torch.bool, device=student.device)
    student_scores = (student @ student.T / temperature).masked_fill(own, -1e4)
    target_scores = (target @ target.T / temperature).masked_fill(own, -1e4)
    return kl_div(
        log_softmax(student_scores, -1),
        log_softmax(target_scores, -1),
        log_target=True,
        reduction="batchmean",
    )


def cross_score_kl(student: Tensor, target: Tensor, temperature: float) -> Tensor:
    """KL divergence from the targets' neighbour distribution among themselves to the students' among the targets.

    student and target are unit vectors [B, D] of two modalities. Unlike `score_kl` it compares students with targets: a
    student should be as near to the other targets as its own target is. Returns a scalar in nats, the mean over items.
    """
    return kl_div(
        log_softmax(student @ target.T / temperature, -1),
        log_softmax(target @ target.T / temperature, -1),
        log_target=True,
        reduction="batchmean",
    )


def student_loss(student: Tensor, target: Tensor, *, prefix_weight: float, kl_weight: float) -> Tensor:
    """The loss of a text student: a weighted sum of cosine, cosine at the prefixes, and in-batch neighbours.

    student and target are unit vectors [B, D]; the prefixes have 64, 128 and 256 dimensions.
    """
    return (
        cosine_loss(student, target)
        + prefix_weight * prefix_cosine_loss(student, target, (64, 128, 256))
        + kl_weight * score_kl(student, target, 0.05)
    )


def info_nce(query: Tensor, document: Tensor, temperature: float, *, same: Tensor | None = None) -> Tensor:
    """InfoNCE both ways with in-batch negatives: unit vectors [B, D], row i of each is a positive pair.

    `same` bool [B, B] is True where query i and document j must not count as a negative pair (for instance
    equal positives); its diagonal is ignored. van den Oord et al. 2018, eq. 4, made symmetric.
    """
    scores = query @ document.T / temperature
    if same is not None:
        own = torch.eye(len(query), dtype=torch.bool, device=query.device)
        scores = scores.masked_fill(same & ~own, -1e4)
    target = torch.arange(len(query), device=query.device)
    return (cross_entropy(scores, target) + cross_entropy(scores.T, target)) / 2


def caption_nce(image: Tensor, captions: Tensor, owner: Tensor, others: Tensor, temperature: float) -> Tensor:
    """Mean of the InfoNCE of each picture to its captions and that of each caption of the batch to its pictures.

    Unit vectors: image [B, D], captions [M, D] of the batch, others [Q, D] that are negatives of pictures only. `owner`
    [B, M] are the shares of a picture's captions; its rows sum to 1. A caption or picture as good as a positive one
    (cosine of the captions above 0.97) does not count as a negative.
    """
    bank = torch.cat([captions, others])
    scores = image @ bank.T / temperature
    positive = (owner > 0).float()
    same = positive @ (captions @ bank.T > SAME_CAPTION).float() > 0
    same[:, : len(captions)] &= positive == 0
    scores = scores.masked_fill(same, -1e4)
    to_captions = -(owner * scores.log_softmax(1)[:, : len(captions)]).sum(1).mean()
    asked = owner.T / owner.sum(0)[:, None]
    to_pictures = -(asked * scores[:, : len(captions)].T.log_softmax(1)).sum(1).mean()
    return (to_captions + to_pictures) / 2


def nce(scores: Tensor, temperature: float, *, excluded: Tensor | None = None) -> Tensor:
    """Mean of -log softmax of each query's own positive, from scores [B, C] with C >= B.

    Column i < B is the positive of query i, further columns are hard negatives of any of the queries: with them
    this is the extended NCE of the jina-embeddings-v4 paper (arXiv 2506.18902, L_NCE+), without them its L_NCE,
    from query to document. `excluded` bool [B, C] is True for what must not count as a negative; the positives
    themselves always count.
    """
    target = torch.arange(len(scores), device=scores.device)
    if excluded is not None:
        scores = scores.masked_fill(_no_negatives(excluded), float("-inf"))
    return cross_entropy(scores / temperature, target)


def distribution_kl(
    scores: Tensor, other: Tensor, temperature: float, *, excluded: Tensor | None = None
) -> Tensor:
    """KL(softmax(scores / t) || softmax(other / t)) over documents, the mean over queries, in nats.

    Both are [B, C]. In arXiv 2506.18902, L_D, `scores` are the dense scores, held fixed, and `other` the
    late-interaction scores that learn from them. `excluded` as in `nce`.
    """
    if excluded is not None:
        excluded = _no_negatives(excluded)
        scores, other = scores.masked_fill(excluded, -1e4), other.masked_fill(excluded, -1e4)
    return kl_div(
        log_softmax(other / temperature, -1),
        log_softmax(scores.detach() / temperature, -1),
        log_target=True,
        reduction="batchmean",
    )


def _no_negatives(excluded: Tensor) -> Tensor:
    """`excluded` [B, C] without the positives, which are its diagonal."""
    own = torch.zeros_like(excluded)
    own.fill_diagonal_(True)
    return excluded & ~own


def over_prefixes(
    loss: Callable[[Tensor, Tensor], Tensor], left: Tensor, right: Tensor, dims: Sequence[int]
) -> Tensor:
    """Mean over `dims` of `loss` on left [B, D] and right [C, D] cut to that many dimensions, unit length again.

    Matryoshka representation learning (Kusupati et al. 2022, eq. 1, equal weights).
    """
    cut = [(normalize(left[:, :dim], dim=-1), normalize(right[:, :dim], dim=-1)) for dim in dims]
    return torch.stack([loss(a, b) for a, b in cut]).mean()


def cosent(scores: Tensor, grades: Tensor, temperature: float) -> Tensor:
    """CoSENT: log(1 + sum over pairs with grade i > grade j of exp((score j - score i) / temperature)).

    scores and grades are [B]. Su 2022; the canonical form of the paper's text-matching loss. 0 when no two
    grades differ.
    """
    difference = (scores[None, :] - scores[:, None]) / temperature  # [i, j] = score j - score i
    wrong = difference[grades[:, None] > grades[None, :]]
    return softplus(torch.logsumexp(wrong, 0)) if len(wrong) else scores.sum() * 0


def late_scores(query: Tensor, document: Tensor) -> Tensor:
    """Late-interaction scores [B, C] of query tokens [B, Tq, D] with document tokens [C, Td, D].

    The sum over query tokens of the largest product with a document token (Khattab & Zaharia 2020, eq. 3).
    Padding is zero rows on both sides: a padded query token adds nothing; a padded document token would win
    with 0 where every cosine is negative, so it is left out.
    """
    products = torch.einsum("qtd,cud->qctu", query, document)
    padding = (document == 0).all(-1)  # [C, Td]
    best = products.masked_fill(padding[None, :, None, :], float("-inf")).amax(-1)
    real = (query != 0).any(-1)  # [B, Tq]
    return best.masked_fill(~real[:, None, :], 0.0).sum(-1)
