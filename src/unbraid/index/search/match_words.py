"""What the words of queries find: the chunks that hold them best, beside those that the vectors found."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from uuid import UUID

import numpy as np

from unbraid.index.protocol import Scores
from unbraid.index.search.relevance import rarity
from unbraid.index.store.bm25 import QueryWords
from unbraid.index.store.filter import ANYTHING, Filter
from unbraid.index.store.store import Candidates, Store, scores_among

# Chunks that a search with a filter asks for by words. Where fewer hold any of them, every score is known: 1,000 cost 0.1 ms
# more than 75, and asking for the scores of the candidates 0.7.
WIDE = 1_000


@dataclass(frozen=True)
class WordMatches:
    """What the words of a query say of n chunks.

    `bm25` [n] are scores. `rare` [n] is the largest `rarity` of a word that was searched for alone, that few chunks hold
    and this one does, else 0. `single`: that is the query's only word. `listed`: the query is a list of words.
    """

    ids: list[UUID]
    bm25: Scores
    rare: Scores
    single: bool
    listed: bool


def match_words(
    store: Store,
    asked: Sequence[QueryWords],
    near: Sequence[Sequence[UUID]],
    limit: int,
    filter: Filter,
    chunks: int,
) -> list[WordMatches | None]:
    """For each query its chunks `near`, the `limit` best by BM25, and those with a word alone that fewer than `limit` hold.

    None for a query without words. The index has `chunks`.
    """
    lists = [[one.terms, *one.alone] if one else [] for one in asked]
    flat = [vector for some in lists for vector in some]
    if not flat:
        return [None] * len(asked)
    wide = limit if filter == ANYTHING else max(limit, WIDE)
    found = iter(store.nearest_words(flat, wide, filter))
    alone = [vector for one in asked for vector in one.alone]
    # How many chunks hold a word is a question to the whole index, not to those that pass the filter.
    everywhere = iter(store.nearest_words(alone, limit) if alone and filter != ANYTHING else [])
    united: list[list[UUID]] = []
    rare: list[dict[UUID, float]] = []
    leading: list[Candidates] = []
    for some, ids in zip(lists, near, strict=True):
        best, *here = islice(found, len(some)) if some else [Candidates(())]
        held: dict[UUID, float] = {}
        for holding, counted in zip(
            here, here if filter == ANYTHING else islice(everywhere, len(here)), strict=True
        ):
            if len(counted) < limit:
                values = rarity(holding.scores(), len(counted), chunks)
                for key, value in zip(holding.ids(), values.tolist(), strict=True):
                    held[key] = max(float(value), held.get(key, 0.0))
        united.append(list(dict.fromkeys([*ids, *best.ids(slice(limit)), *held])))
        rare.append(held)
        leading.append(best)
    scores = _scores(store, asked, united, leading, wide)
    return [
        WordMatches(
            ids, bm25, np.asarray([held.get(key, 0.0) for key in ids], np.float32), one.single, one.listed
        )
        if one
        else None
        for one, ids, bm25, held in zip(asked, united, scores, rare, strict=True)
    ]


def _scores(
    store: Store,
    asked: Sequence[QueryWords],
    ids: Sequence[Sequence[UUID]],
    leading: Sequence[Candidates],
    wide: int,
) -> list[Scores]:
    """BM25 scores [m] of the chunks `ids[i]` for query i; `leading[i]` are its `wide` best, all that there are where fewer."""
    more = [row for row, best in enumerate(leading) if len(best) == wide]
    scores = [scores_among(best, some) for best, some in zip(leading, ids, strict=True)]
    if more:
        found = store.word_scores([asked[row].terms for row in more], [ids[row] for row in more])
        for row, some in zip(more, found, strict=True):
            scores[row] = some
    return scores
