"""Cosines with BM25 mixed in, by a weight for each query.

    mixed = cosine + WEIGHT * spread * bm25 / sqrt(best)

`spread` is the standard deviation of the query's cosines with the documents, `best` its largest BM25 score. The
document that holds the query's words best gains WEIGHT * sqrt(best) standard deviations, others a share of that.
BM25 is a sum of log odds (Robertson & Zaragoza 2009), and a deviation of z has log odds of about z**2 / 2: `best`
nats weigh as much as sqrt(2 * best) deviations, which WEIGHT scales. So a query whose words are common or absent is
ranked by its cosines. A word of one document weighs by the root of the logarithm of the number of documents without
it; a z-scored BM25 grows with the root of that number itself. What else was tried: docs/experiments.md.
"""

import numpy as np

from unbraid.index.protocol import Scores

WEIGHT = 0.35  # 0.25 to 0.45 differ by less than .005 of nDCG@10


def mixed(cosines: Scores, words: Scores, spread: Scores | float, best: Scores | float) -> Scores:
    """Scores [..., n] to rank by, of cosines [..., n] and BM25 scores [..., n] of the same documents, 0 or more.

    `spread` and `best` [...] are of the whole corpus, not only of these documents. The cosines themselves where
    `best` is 0.
    """
    best = np.asarray(best, np.float64)
    weight = WEIGHT * np.asarray(spread) / np.sqrt(np.where(best > 0, best, np.inf))
    return cosines + weight[..., None].astype(cosines.dtype) * words
