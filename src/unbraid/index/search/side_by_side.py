"""Words of a query that stand side by side in a chunk, as they do in the query.

A query that only lists words ("summary license screen") asks for a place where they stand, and many chunks may hold all of
them. The chunks that rank first are read and gain by the share of the query's neighbours that are neighbours in them.
"""

from collections.abc import Callable, Sequence

import numpy as np

from unbraid.index.protocol import Scores
from unbraid.index.store.bm25 import word_pairs

READ = 100  # candidates that are read: pictures by what they show are among them
GAIN = 3.0  # log odds of a chunk with all of them (docs/experiments.md)


def prefer_side_by_side(odds: Scores, query: str, texts_of: Callable[[list[int]], Sequence[str]]) -> Scores:
    """Log odds [n] of candidates, raised where words of `query` stand side by side.

    `texts_of` reads the texts of some rows.
    """
    wanted = word_pairs(query)
    if not wanted:
        return odds
    first = np.argsort(-odds, kind="stable")[:READ].tolist()
    gained = [len(wanted & word_pairs(text)) / len(wanted) for text in texts_of(first)]
    raised = odds.copy()
    raised[first] += GAIN * np.asarray(gained)
    return raised
