"""What an index knows of the words of queries, for documents in memory: the same numbers as index/search/match_words.py."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import qdrant_edge as edge
from numpy.typing import NDArray

from unbraid.errors import require
from unbraid.index.protocol import Scores
from unbraid.index.search.relevance import Evidence, Relevance, rarity
from unbraid.index.search.search import HYBRID, WORDS_SHARE
from unbraid.index.search.side_by_side import prefer_side_by_side
from unbraid.index.store.bm25 import document_words, read_query

LIMIT = HYBRID // WORDS_SHARE  # chunks that a search of ten hits gets of each word


@dataclass(frozen=True)
class WordScores:
    """Of one query and n documents: BM25 scores [n], and what `Evidence` counts for rare words [n]."""

    bm25: NDArray[np.float32]
    rare: NDArray[np.float32]
    single: bool
    listed: bool

    def evidence(self, z: NDArray[np.float32]) -> Evidence:
        """With standardized cosines [n] of the same documents."""
        best = float(self.bm25.max(initial=0.0))
        return Evidence(z, self.bm25, best, self.rare, self.single, len(z), self.listed)


class WordIndex:
    """Documents by their words, as an index keeps them."""

    def __init__(self, documents: Sequence[str]) -> None:
        """Count the words of `documents`. Raises MissingExtraError without scipy."""
        require("scipy", "evaluate")
        from scipy import sparse

        self._documents = documents
        columns: dict[int, int] = {}
        values: list[float] = []
        places: list[int] = []
        ends = [0]
        for text in documents:
            vector = document_words(text)
            values += vector.values
            places += [columns.setdefault(term, len(columns)) for term in vector.indices]
            ends.append(len(values))
        shape = (len(documents), max(1, len(columns)))
        by_document = sparse.csr_matrix((values, places, ends), shape=shape, dtype=np.float32)
        self._columns, self._by_term = columns, by_document.tocsc()
        holding = np.diff(self._by_term.indptr)
        self._idf = np.log1p((len(documents) - holding + 0.5) / (holding + 0.5)).astype(np.float32)

    def __len__(self) -> int:
        """Number of documents."""
        return int(self._by_term.shape[0])

    def __call__(self, query: str) -> WordScores:
        """What the words of a query find."""
        asked = read_query(query)
        rare = np.zeros(len(self), np.float32)
        for one in asked.alone:
            scores = self._scores(one)
            holding = np.count_nonzero(scores)
            if holding < LIMIT:
                rare = np.maximum(rare, rarity(scores, int(holding), len(self)))
        return WordScores(self._scores(asked.terms), rare, asked.single, asked.listed)

    def log_odds(self, query: str, z: NDArray[np.float32], relevance: Relevance) -> Scores:
        """Log odds [n] by which `unbraid search` ranks the documents, from their standardized cosines [n]."""
        found = self(query)
        odds = relevance.log_odds(found.evidence(z))
        if not found.listed:
            return odds
        return prefer_side_by_side(odds, query, lambda rows: [self._documents[row] for row in rows])

    def _scores(self, asked: edge.SparseVector) -> NDArray[np.float32]:
        scores = np.zeros(len(self), np.float32)
        for term, weight in zip(asked.indices, asked.values, strict=True):
            column = self._columns.get(term)
            if column is not None:
                rows = slice(*self._by_term.indptr[column : column + 2])
                scores[self._by_term.indices[rows]] += weight * self._idf[column] * self._by_term.data[rows]
        return scores
