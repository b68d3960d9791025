"""The words of a text as a sparse vector. Its inner product with a query's vector is BM25, with a fixed average length.

A document's weight of a term is tf (k1 + 1) / (tf + k1 (1 - b + b length / average)), and the store multiplies by the
term's IDF when it searches (Robertson & Zaragoza 2009; k1 1.2, b 0.75). Terms are the words that split_words.py finds,
their parts and, of English words, their Snowball stems; a query weighs a word itself more than its stem and its parts.
The names of a chunk are terms of their own: its file, its folders, what stands around it and what its code defines. A term's dimension is its
CRC-32, so no vocabulary is kept. A Qdrant server stores the same vectors.
"""

import itertools
import re
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath

import qdrant_edge as edge

from unbraid.index.store.split_words import Word, runs, split_words, words_in
from unbraid.items import Modality, suffix_modality
from unbraid.runtime.text_language import language_of
from unbraid.stop_words import STOP_WORDS

VERSION = 3  # of all this: an index with the words of another version has them counted again
# Words of a document that is neither short nor long. Fixed, since the true average changes as a store grows: 32 to 128 differ
# by half a point of nDCG@10 over 23 sets, 64 and 32 lead (docs/experiments.md).
AVERAGE_LENGTH = 64
K1, B = 1.2, 0.75
STEM, PART, NAME = 0.3, 0.5, 1.0  # a query's weights beside that of a word itself, which is 1 - STEM
# A document's weights of names beside that of its file, which is 1: what it defines or is headed, what stands around it.
DEFINED, CONTEXT, FOLDER, PICTURE = 1.5, 0.6, 0.4, 2.2
FOLDERS = 3  # the nearest; those further up are the same for the whole index
WORDS, ALONE = 128, 8  # of a query: that are read, that are also searched for alone
LISTED = 3  # words from which an English query without stop words and question mark is a list of words
_NAMED = re.compile(r"[0-9_+#]")
_NAME = "/"  # before the terms of names
_EXACT = "="  # before a name of one word that a chunk defines or is headed by
_STEM = "~"  # before the stem of a word that is no stem itself
_DEFINITION = re.compile(
    r"^[ \t]*(?:[a-z]+[ \t]+){0,4}?(?:def|class|fn|func|function|fun|interface|struct|enum|trait|type|module|impl|record)\b[ \t*]*"
    r"(?:\([^()\n]*\)[ \t]*)?([^\W\d]\w*)",
    re.MULTILINE,
)
_HEADING = re.compile(r"^#{1,6}[ \t]+(.+)$", re.MULTILINE)
# Names that cameras and programs give, which say nothing of what a picture shows.
_GIVEN = re.compile(
    r"(?:img|dsc[nf]?|pxl|mvimg|vid|dcim|image|photo|picture|pic|scan|screenshot|untitled|unnamed|p)?[\W_\d]*",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class QueryWords:
    """A query as a sparse vector of all its terms, and the words that are also searched for alone, each also as a name.

    `alone` has the only word of a query (`single`), and this as a name only, or of several those that look like a name or a
    number: with a digit, an underscore or parts. `listed`: the query is no sentence but a list of words.
    """

    terms: edge.SparseVector
    alone: list[edge.SparseVector]
    single: bool
    listed: bool

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.terms.indices)


NO_WORDS = QueryWords(edge.SparseVector([], []), [], False, False)


def document_words(
    text: str, path: str = "", modality: Modality = "text", context: str = ""
) -> edge.SparseVector:
    """Term weights of a chunk: of its text, the path of its file and the headings or definitions around it."""
    length, counts = 0, dict[str, int]()
    for run, times in Counter(runs(text)).items():
        words, terms = _terms_in(run)
        length += words * times
        for term in terms:
            counts[term] = counts.get(term, 0) + times
    spread = K1 * (1 - B + B * length / AVERAGE_LENGTH)
    weights = {term: count * (K1 + 1) / (count + spread) for term, count in counts.items()}
    names = {context: CONTEXT, **_path_names(path)}
    shown = _DEFINITION if modality == "code" else _HEADING
    defined = [name.strip() for name in shown.findall(text)]
    names.update((name, DEFINED) for name in defined)
    for name, weight in sorted(names.items(), key=lambda one: one[1]):
        weights.update(dict.fromkeys(_name_terms(name), weight))
    weights.update((_EXACT + name.casefold(), 1.0) for name in defined if not re.search(r"\s", name))
    return _vector(weights)


def query_words(text: str) -> edge.SparseVector:
    """The terms of a query with their weights; none for one without words or of stop words alone."""
    return read_query(text).terms


def read_query(text: str) -> QueryWords:
    """The words of a query; none for one without words or of stop words alone."""
    said = list(split_words(text))
    words = list(dict.fromkeys(word for word in said if word.whole not in STOP_WORDS))[:WORDS]
    listed = (
        len(words) >= LISTED
        and "?" not in text
        and not any(word.whole in STOP_WORDS for word in said)
        and language_of(text) == "en"  # sentences of other languages have none of these stop words either
    )
    weights: dict[str, float] = {}
    for word in words:
        for term, weight in _query_terms(word).items():
            weights[term] = max(weight, weights.get(term, 0.0))
    named = {_NAME + term: NAME * weight for term, weight in weights.items()}
    single = len(words) == 1
    alone = [word for word in words if single or _NAMED.search(word.whole) or len(word.parts) > 1]
    searched = [{word.whole: 1.0, _NAME + word.whole: NAME} for word in alone[:ALONE]]
    if single:  # few chunks may define what many name
        searched.append({_EXACT + words[0].whole: 1.0})
    return QueryWords(_vector({**weights, **named}), [_vector(one) for one in searched], single, listed)


def word_terms(text: str) -> frozenset[str]:
    """The terms of the words of a text, stop words aside: two words with a term in common match each other."""
    words = (word for word in split_words(text) if word.whole not in STOP_WORDS)
    return frozenset().union(*map(_matches, words))


def held_terms(text: str, terms: frozenset[str]) -> set[str]:
    """Those of `terms`, as `word_terms` gives them, that a word of the text matches; quicker than by all of its terms."""
    held: set[str] = set()
    for found in map(_matches_in, set(runs(text))):
        if not terms.isdisjoint(found):
            held |= terms & found
    return held


def _matches(word: Word) -> frozenset[str]:
    """The terms of which another word must have one to match this one."""
    own = (word.whole, *word.parts)
    return frozenset([*own, *(_STEM + _stem(one) for one in own if one.isascii() and one.isalpha())])


@lru_cache(50_000)  # by text: a Word takes three times as long to look up
def _matches_in(run: str) -> frozenset[str]:
    return frozenset().union(*map(_matches, words_in(run)))


def word_pairs(text: str) -> frozenset[tuple[str, str]]:
    """The pairs of words that stand side by side in a text, by their stems, stop words aside."""
    stems = [_stem(word.whole) for word in split_words(text) if word.whole not in STOP_WORDS]
    return frozenset(itertools.pairwise(stems))


@lru_cache(50_000)
def _terms_in(run: str) -> tuple[int, tuple[str, ...]]:
    """The number of words in one of `runs`, stop words aside, and the terms of each."""
    words = [word for word in words_in(run) if word.whole not in STOP_WORDS]
    return len(words), tuple(itertools.chain.from_iterable(map(_terms, words)))


@lru_cache(5_000)  # chunks of one file, and files of one folder, have theirs in common
def _name_terms(name: str) -> tuple[str, ...]:
    return tuple(_NAME + term for word in split_words(name) for term in _terms(word))


def _terms(word: Word) -> tuple[str, ...]:
    """The terms that a document holds for a word: it, its parts, and their stems."""
    own = (word.whole, *word.parts)
    stems = ((one, _stem(one)) for one in own)
    return tuple(dict.fromkeys([*own, *(_STEM + stem for one, stem in stems if stem != one)]))


def _query_terms(word: Word) -> dict[str, float]:
    """The weights of a word's terms in a query."""
    weights: dict[str, float] = {}
    for part, share in ((word.whole, 1.0), *((part, PART) for part in word.parts)):
        stem = _stem(part)
        for term, weight in ((part, 1 - STEM), (stem, STEM), (_STEM + stem, STEM)):
            weights[term] = weights.get(term, 0.0) + share * weight
    return weights


@lru_cache(1_000)
def _path_names(path: str) -> Mapping[str, float]:
    """The names that a path gives, with a document's weight of each; none for one that a camera gave.

    That of a picture counts most, for the words in it too; those of a PDF's pages are none, drawn or not.
    """
    place = PurePosixPath(path)
    names = {folder: FOLDER for folder in place.parent.parts[-FOLDERS:]}
    if not _GIVEN.fullmatch(place.stem):
        weight = PICTURE if suffix_modality(path) == "image" else 1.0
        names.update({place.stem: weight, place.name: weight})
    return names


def _stem(word: str) -> str:
    return _stemmer()(word) if word.isascii() and word.isalpha() else word


@lru_cache(50_000)
def _dimension(term: str) -> int:
    return zlib.crc32(term.encode("utf-8", "replace"))


@lru_cache(1)
def _stemmer() -> Callable[[str], str]:
    from Stemmer import Stemmer

    stem: Callable[[str], str] = Stemmer("english").stemWord
    return stem


def _vector(weights: dict[str, float]) -> edge.SparseVector:
    """A sparse vector of weights by term; of two terms in one dimension the last counts."""
    dimensions = {_dimension(term): weight for term, weight in weights.items()}
    return edge.SparseVector(list(dimensions), list(dimensions.values()))
