"""Hard negatives, and a rule that tells them from positives that are not labelled."""

from collections.abc import Sequence

import torch
from torch import Tensor

BLOCK = 1024  # queries scored at once


def false_negatives(scores: Tensor, positive: Tensor, share: float) -> Tensor:
    """bool [n, m]: which documents score above `share` of the query's own positive.

    scores [n, m] and positive [n] are cosines of the unadapted backbone. The positive-aware rule that worked best in
    NV-Retriever (arXiv 2407.15831, "TopK-PercPos", share 0.95).
    """
    return scores > share * positive[:, None]


def mine_hard_negatives(
    queries: Tensor,
    documents: Tensor,
    positives: Sequence[set[int]],
    own: Tensor,
    *,
    count: int,
    share: float,
) -> Tensor:
    """Rows int64 [n, count] of the best-scored documents that are not positives, -1 where there are fewer.

    queries [n, D] and documents [m, D] are unit vectors, `positives` the known document rows of each query and
    `own` int64 [n] the one that the query is paired with. Documents above `share` of its score are left out as false negatives.
    """
    found = torch.full((len(queries), count), -1)
    most = max(map(len, positives), default=0)
    for start in range(0, len(queries), BLOCK):
        block = queries[start : start + BLOCK]
        scores = block @ documents.T
        positive = scores.gather(1, own[start : start + BLOCK, None]).squeeze(1)
        scores = scores.masked_fill(false_negatives(scores, positive, share), float("-inf"))
        best = scores.topk(min(count + most, len(documents)), dim=1)
        for row, (values, places) in enumerate(zip(best.values, best.indices, strict=True), start):
            pairs = zip(values.tolist(), places.tolist(), strict=True)
            kept = [place for value, place in pairs if value > float("-inf") and place not in positives[row]]
            found[row, : len(kept[:count])] = torch.tensor(kept[:count], dtype=torch.long)
    return found
