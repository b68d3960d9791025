"""The words of a text as a sparse vector. Its inner product with a query's vector is BM25, with a fixed average length.

A document's weight of a word is tf (k1 + 1) / (tf + k1 (1 - b + b length / average)), a query's is 1, and the store
multiplies by the word's IDF when it searches (Robertson & Zaragoza 2009; k1 1.2, b 0.75). Words come from the tokenizer
of Qdrant Edge: lower case, English stop words, Snowball stems. A word's dimension is its 31-bit murmur3 hash, so no
vocabulary is kept. A Qdrant server makes the same vectors.
"""

from functools import cache

import qdrant_edge as edge

from unbraid.io.surrogates import replace_lone_surrogates
from unbraid.runtime.code_text import split_identifiers

# Words of a document that is neither short nor long. Fixed, since the true average changes as a store grows: 32 to 128 differ
# by half a point of nDCG@10 over 23 sets, 64 and 32 lead (docs/experiments.md).
AVERAGE_LENGTH = 64


def document_words(text: str) -> edge.SparseVector:
    """Word weights of a text or code that is searched; empty for one without words."""
    return _bm25().embed_document(_words(text))


def query_words(text: str) -> edge.SparseVector:
    """The words of a query, weight 1 each."""
    return _bm25().embed_query(_words(text))


def _words(text: str) -> str:
    """Identifiers in parts, in prose and queries too, so that getName, get_name and "get name" match each other."""
    return replace_lone_surrogates(split_identifiers(text))


@cache
def _bm25() -> edge.Bm25:
    return edge.Bm25(edge.Bm25Config(k=1.2, b=0.75, avg_len=AVERAGE_LENGTH))
