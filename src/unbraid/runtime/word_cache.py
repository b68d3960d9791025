"""Token ids of texts with a cache of words: several times as fast as the tokenizers library.

A BERT pipeline reads each word (the characters between two spaces) by itself: its normalizer changes single
characters, its pre-tokenizer splits at spaces and punctuation, and its model sees one part at a time. So the ids of a
text are the ids of its words, and each word needs to be tokenized only once. The library still defines the ids of
every part, and it tokenizes every text with control characters at which Python splits and the pipeline does not.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import chain, islice

from tokenizers import Encoding, Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

MOST_WORDS = 1 << 16  # in the cache, about 20 MB
SLICE = 2048  # characters that the library counts at once
LONGEST_WORD = 64  # characters of a cached word: longer words rarely occur twice

# Python splits at these. The pipeline drops them as control characters, and no word ends at them.
_SPLIT_BY_PYTHON_ONLY = re.compile("[\x0b\x0c\x1c-\x1f\x85]")
# The parts of a printable ASCII word: runs of letters and digits, and single punctuation characters.
_PARTS = re.compile("[0-9A-Za-z]+|[^0-9A-Za-z]")


class _Words(dict[str, list[int]]):
    """Word -> its ids, tokenized on first use. Several threads may share it."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self._tokenizer, self._model = tokenizer, tokenizer.model
        self._lowercase: bool = tokenizer.normalizer.lowercase
        added = tokenizer.get_added_tokens_decoder().values()
        # An added token that is matched after normalization may match where the raw text does not show it.
        whole = any(token.normalized for token in added)
        self._added = re.compile(
            "" if whole else "|".join(re.escape(token.content) for token in added) or "(?!)"
        )

    def __missing__(self, word: str) -> list[int]:
        if not (word.isascii() and word.isprintable()) or self._added.search(word):
            whole = self._tokenizer.encode(word, add_special_tokens=False)
            ids: list[int] = [one for part in (whole, *whole.overflowing) for one in part.ids]
        elif len(parts := _PARTS.findall(word)) > 1:
            ids = [one for part in parts for one in self[part]]
        else:
            ids = [token.id for token in self._model.tokenize(word.lower() if self._lowercase else word)]
        if len(word) <= LONGEST_WORD:
            if len(self) >= MOST_WORDS:
                self.clear()  # words in use come back at once
            self[word] = ids
        return ids


class WordCache:
    """Tokenizes exactly as `tokenizer` does, with a cache of words. `word_cache` makes it where the pipeline allows it."""

    def __init__(self, tokenizer: Tokenizer, before: list[int], after: list[int], max_tokens: int) -> None:
        """Cache words of `tokenizer`, which puts the ids `before` and `after` around a text and truncates."""
        self.tokenizer = tokenizer
        self.words = _Words(tokenizer)
        self._before, self._after = before, after
        self._room = max_tokens - len(before) - len(after)

    def tokenize(self, texts: Sequence[str]) -> tuple[list[list[int]], list[int]]:
        """Token ids of each text, and the positions of texts that were cut: equal to the library's."""
        ids: list[list[int]] = []
        cut: list[int] = []
        whole: list[int] = []
        ids_of_word = self.words.__getitem__
        for row, text in enumerate(texts):
            if not text.isprintable() and _SPLIT_BY_PYTHON_ONLY.search(text):
                whole.append(row)
                ids.append([])
                continue
            inner = list(islice(chain.from_iterable(map(ids_of_word, text.split())), self._room + 1))
            if len(inner) > self._room:
                cut.append(row)
                inner.pop()
            ids.append([*self._before, *inner, *self._after])
        found, cut_whole = library_ids(self.tokenizer, [texts[row] for row in whole])
        for row, one in zip(whole, found, strict=True):
            ids[row] = one
        return ids, sorted([*cut, *(whole[place] for place in cut_whole)])

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text before it is cut, without special tokens: the library's, but for words over SLICE."""
        return [
            library_counts(self.tokenizer, [text])[0]
            if not text.isprintable() and _SPLIT_BY_PYTHON_ONLY.search(text)
            else sum(map(len, map(self.words.__getitem__, _parts(text))))
            for text in texts
        ]


def _parts(text: str) -> list[str]:
    """The words of a text, long ones in slices."""
    words = text.split()
    if len(text) <= SLICE or max(map(len, words), default=0) <= SLICE:
        return words
    return [part for word in words for part in slices(word)]


def library_ids(tokenizer: Tokenizer, texts: Sequence[str]) -> tuple[list[list[int]], list[int]]:
    """Token ids of each text by the library alone, and the positions of texts that were cut."""
    encodings: Iterable[Encoding] = tokenizer.encode_batch(texts) if texts else []
    ids, cut = [], []
    for row, encoding in enumerate(encodings):
        ids.append(encoding.ids)
        if encoding.overflowing:
            cut.append(row)
    return ids, cut


def slices(text: str) -> Iterable[str]:
    """A text in slices that are counted apart: the library keeps much for each token beyond its limit.

    A token at the end of a slice may count as two.
    """
    return (text,) if len(text) <= SLICE else (text[at : at + SLICE] for at in range(0, len(text), SLICE))


def library_counts(tokenizer: Tokenizer, texts: Sequence[str]) -> list[int]:
    """Tokens of each text before it is cut, without special tokens, by the library alone."""
    if any(len(text) > SLICE for text in texts):
        return [sum(library_counts(tokenizer, list(slices(text)))) for text in texts]
    around = tokenizer.num_special_tokens_to_add(is_pair=False)
    encodings: Iterable[Encoding] = tokenizer.encode_batch(texts) if texts else []
    return [sum(len(part.ids) - around for part in (one, *one.overflowing)) for one in encodings]


def word_cache(tokenizer: Tokenizer, max_tokens: int) -> WordCache | None:
    """A cache for `tokenizer`, which truncates at `max_tokens` and does not pad; None where a text is not just its words.

    A cache needs the BERT pipeline, no added token with a space in it, and special tokens that only stand around a
    text. At least one special token: then a word that the library cuts is always longer than the room for a text.
    """
    bert = (
        isinstance(tokenizer.model, WordPiece)
        and isinstance(tokenizer.normalizer, BertNormalizer)
        and isinstance(tokenizer.pre_tokenizer, BertPreTokenizer)
    )
    added = tokenizer.get_added_tokens_decoder().values()
    if not bert or any(character.isspace() for token in added for character in token.content):
        return None
    frame, framed = tokenizer.encode("").ids, tokenizer.encode("a b").ids
    words = [one for word in "ab" for one in tokenizer.encode(word, add_special_tokens=False).ids]
    for place in range(len(frame) + 1):
        before, after = frame[:place], frame[place:]
        if frame and [*before, *words, *after] == framed:
            return WordCache(tokenizer, before, after, max_tokens)
    return None
