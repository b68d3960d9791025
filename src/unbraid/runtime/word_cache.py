"""Token ids of texts, remembered word by word: several times as fast as the tokenizers library on a text.

A BERT pipeline reads every word (what stands between spaces) by itself: its normaliser changes single characters,
its pre-tokeniser splits at spaces and at punctuation, and its model sees one part at a time. So the ids of a text
are those of its words, one after another, and every word and part has to be read only once. The library stays the
one definition of what a part's ids are, and reads whole everything but printable ASCII.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import chain, islice

from tokenizers import Encoding, Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

MOST_WORDS = 1 << 16  # kept; some 20 MB
LONGEST_WORD = 64  # characters of a word that is kept: longer ones hardly ever come again

# Python splits at these, to the pipeline they are control characters: dropped, with no word ending at them.
_SPLIT_BY_PYTHON_ONLY = re.compile("[\x0b\x0c\x1c-\x1f]")


# Of a printable ASCII word: its runs of letters and digits, and each punctuation character by itself.
_PARTS = re.compile("[0-9A-Za-z]+|[^0-9A-Za-z]")


class _Words(dict[str, list[int]]):
    """Word -> its ids, read when it is first asked for. Several threads may share it."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self._tokenizer, self._model = tokenizer, tokenizer.model
        self._lowercase: bool = tokenizer.normalizer.lowercase
        added = tokenizer.get_added_tokens_decoder().values()
        # An added token of the normalised text may be found where nothing looks like it.
        whole = any(token.normalized for token in added)
        self._added = re.compile(
            "" if whole else "|".join(re.escape(token.content) for token in added) or "(?!)"
        )

    def __missing__(self, word: str) -> list[int]:
        ids = self._read(word)
        if len(word) <= LONGEST_WORD:
            if len(self) >= MOST_WORDS:
                self.clear()  # the words that are in use come back at once
            self[word] = ids
        return ids

    def _read(self, word: str) -> list[int]:
        if not word.isprintable() or self._added.search(word):
            ids: list[int] = self._tokenizer.encode(word, add_special_tokens=False).ids
            return ids
        parts = _PARTS.findall(word)
        if len(parts) > 1:
            return [one for part in parts for one in self[part]]
        return [token.id for token in self._model.tokenize(word.lower() if self._lowercase else word)]


class WordCache:
    """Tokenises as `tokenizer` does, with a memory of words. Made by `word_cache`, for pipelines that it fits."""

    def __init__(self, tokenizer: Tokenizer, before: list[int], after: list[int], max_tokens: int) -> None:
        """Keep the words of `tokenizer`, which frames a text by the ids `before` and `after` and truncates."""
        self.tokenizer = tokenizer
        self.words = _Words(tokenizer)
        self._before, self._after = before, after
        self._room = max_tokens - len(before) - len(after)

    def tokenise(self, texts: Sequence[str]) -> tuple[list[list[int]], list[int]]:
        """Token ids of each text, and the positions of the texts that were cut; the library's, exactly."""
        ids: list[list[int]] = []
        cut: list[int] = []
        whole: list[int] = []
        ids_of_word = self.words.__getitem__
        for row, text in enumerate(texts):
            if not text.isascii() or not (text.isprintable() or not _SPLIT_BY_PYTHON_ONLY.search(text)):
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


def library_ids(tokenizer: Tokenizer, texts: Sequence[str]) -> tuple[list[list[int]], list[int]]:
    """Token ids of each text by the library alone, and the positions of the texts that were cut."""
    encodings: Iterable[Encoding] = tokenizer.encode_batch(texts) if texts else []
    ids, cut = [], []
    for row, encoding in enumerate(encodings):
        ids.append(encoding.ids)
        if encoding.overflowing:
            cut.append(row)
    return ids, cut


def word_cache(tokenizer: Tokenizer, max_tokens: int) -> WordCache | None:
    """A cache for `tokenizer`, which truncates at `max_tokens` and does not pad; None where words do not make a text.

    It takes the BERT pipeline, no added token with a space in it, and special tokens that do nothing but frame a
    text. At least one of them: a word that truncation cuts is then longer than what a text has room for.
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
