"""Why a hit was found: which words of its passage answered which words of the query, by their token vectors."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unbraid.index.search.document_tokens import Head, head_of
from unbraid.index.search.hit import Hit, WordPair
from unbraid.index.search.second_look import query_head
from unbraid.index.store.split_words import is_unspaced
from unbraid.items import Code, Item
from unbraid.multi_vector.maxsim import answers
from unbraid.multi_vector.token_vectors import TokenVectors
from unbraid.stop_words import STOP_WORDS

INNER, OUTER = "##", "▁"  # a WordPiece that goes on with the word before, a SentencePiece that begins one


@dataclass(frozen=True)
class Words:
    """The words of a text with the vectors of their pieces: `vectors` float32 [n, dim], row i of the word `words[of[i]]`."""

    words: list[str]
    of: list[int]
    vectors: NDArray[np.float32]


def explained(model: Any, query: str | None, hits: Sequence[Hit], reader: str | None = None) -> list[Hit]:
    """The hits of a query of words, each with `why`: empty for pictures, and for what the query's tier does not encode.

    `reader` is the tier that reads queries and passages, as in `second_looks`.
    """
    head = None if query is None else query_head(model, query, reader)
    shown = [_passage(hit) for hit in hits]
    if query is None or head is None or not any(shown):
        return list(hits)
    (asked,) = read_words(model, [query], head)
    rows = [
        row
        for row, item in enumerate(shown)
        if item is not None and (reader is not None or _reads(model, head, item))
    ]
    found = read_words(model, [item for row in rows if (item := shown[row]) is not None], head)
    why = {row: pairs_of(asked, each) for row, each in zip(rows, found, strict=True)}
    return [replace(hit, why=why.get(row, [])) for row, hit in enumerate(hits)]


def pairs_of(query: Words, passage: Words) -> list[WordPair]:
    """For each word of the query the word of the passage with the largest cosine, in the order of the query."""
    if not len(query.vectors) or not len(passage.vectors):
        return []
    asked = TokenVectors(query.vectors, np.ones(len(query.of), np.float32), np.asarray(query.of, np.int64))
    place, cosines = answers(asked, passage.vectors)
    best: dict[int, int] = {}  # by word of the query, the row of its piece with the best answer
    for row, word in enumerate(query.of):
        if word not in best or cosines[row] > cosines[best[word]]:
            best[word] = row
    return [
        WordPair(query.words[word], passage.words[passage.of[place[row]]], round(float(cosines[row]), 3))
        for word, row in best.items()
    ]


def read_words(model: Any, items: Sequence[Item], head: Head) -> list[Words]:
    """The words of texts or code that mean something; all of them where none does."""
    tokens = model.token_vectors(items, tier=head.tier, pruned=False, on_truncate="ignore", progress=False)
    return [
        join_pieces(
            model.pieces(each.ids, "code" if isinstance(item, Code) else "text", tier=head.tier),
            each.vectors,
            sentence=model.sentence_pieces(head.tier),
        )
        for item, each in zip(items, tokens, strict=True)
    ]


def join_pieces(pieces: Sequence[str], vectors: NDArray[np.float32], *, sentence: bool = False) -> Words:
    """Words of the pieces of a text and their vectors [n, dim]. `sentence`: they are SentencePieces, else WordPieces."""
    words: list[str] = []
    of: list[int] = []
    for piece in pieces:
        letters = piece.removeprefix(OUTER if sentence else INNER)
        if words and _goes_on(piece, words[-1], sentence=sentence):
            words[-1] += letters
        else:
            words.append(letters)
        of.append(len(words) - 1)
    told = [word.lower() not in STOP_WORDS and any(map(str.isalnum, word)) for word in words]
    kept = [row for row, word in enumerate(of) if told[word] or not any(told)]
    return Words(words, [of[row] for row in kept], vectors[kept])


def _goes_on(piece: str, word: str, *, sentence: bool) -> bool:
    """Whether a piece belongs to the `word` before it. `sentence`: it is a SentencePiece, else a WordPiece."""
    if not sentence:
        return piece.startswith(INNER)
    first, last = piece[:1], word[-1:]
    # Without spaces between words, a piece is the best that is known of a word.
    return _in_word(last) and _in_word(first) and not (is_unspaced(last) or is_unspaced(first))


def _in_word(character: str) -> bool:
    """Whether a character is a letter, a digit or a sign that belongs to one, such as a vowel of Hindi."""
    return character.isalnum() or (character != "" and unicodedata.category(character)[0] == "M")


def _passage(hit: Hit) -> str | None:
    """What can be explained of a hit; None for a picture without words."""
    if not hit.snippet:
        return None
    return Code(hit.snippet) if hit.modality == "code" else hit.snippet


def _reads(model: Any, head: Head, item: Item) -> bool:
    """Whether the tier of `head` is the one that encodes this text."""
    ((tier, _),) = model.route([item], side="document")
    found = head_of(model, tier, "code" if isinstance(item, Code) else "text")
    return found is not None and (found.tier, found.space) == (head.tier, head.space)
