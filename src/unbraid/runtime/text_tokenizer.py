"""The tokenizer of a text encoder: token ids, counts of tokens, and whether ids are its own. It needs no graph."""

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from unbraid.errors import BundleError, ItemError
from unbraid.io.surrogates import replace_lone_surrogates
from unbraid.runtime.code_text import split_identifiers
from unbraid.runtime.long_text import tokenize_heads
from unbraid.runtime.word_cache import library_counts, library_ids, word_cache


class TextTokenizer:
    """A tokenizer file, ready to read texts. Whether identifiers are split and what stands before a text, it is told."""

    def __init__(self, path: Path, max_tokens: int) -> None:
        """Open `path`; texts are cut to `max_tokens`, special tokens included. Raises BundleError for a broken file."""
        try:
            self.tokenizer = Tokenizer.from_file(str(path))
        except BaseException as error:  # some faults are a pyo3 PanicException, which is no Exception
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            raise BundleError(f"{path}: not a tokenizer: {error}") from error
        self.max_tokens = max_tokens
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(max_tokens)
        self.frame: list[int] = self.tokenizer.encode("").ids  # special tokens around every text
        self._words = word_cache(self.tokenizer, max_tokens)

    def room(self, prefix: str = "") -> int:
        """Tokens of a text that is not cut, special tokens and those of the prefix left out.

        Raises BundleError for a prefix that leaves none.
        """
        room = self.max_tokens - len(self.frame) - sum(self.count([prefix], split=False))
        if room < 1:
            raise BundleError(f"prefix {prefix!r} leaves no room for a text in {self.max_tokens:,} tokens")
        return room

    def tokenize(
        self, texts: Sequence[str], split: bool, prefix: str = ""
    ) -> tuple[list[list[int]], list[int]]:
        """Token ids of each text behind `prefix`, and the positions of texts that were cut.

        `split` splits identifiers first, those of the prefix left as they are.
        """

        def ids(some: Sequence[str]) -> tuple[list[list[int]], list[int]]:
            prepared = [f"{prefix}{text}" for text in _prepared(some, split)]
            return self._words.tokenize(prepared) if self._words else library_ids(self.tokenizer, prepared)

        return tokenize_heads(ids, texts, self.max_tokens)

    def count(self, texts: Sequence[str], split: bool) -> list[int]:
        """Tokens of each text before it is cut, without special tokens and without a prefix."""
        prepared = _prepared(texts, split)
        return self._words.count(prepared) if self._words else library_counts(self.tokenizer, prepared)

    def check(self, ids: Sequence[int]) -> None:
        """Raise ItemError for ids that another tokenizer made.

        The special tokens that this tokenizer puts around every text tell. Without the check, ids of another vocabulary
        would silently give vectors of other words.
        """
        if len(ids) > self.max_tokens:
            raise ItemError(f"{len(ids):,} token ids, at most {self.max_tokens:,} fit: split them")
        size, frame = self.tokenizer.get_vocab_size(), self.frame
        if len(ids) < max(1, len(frame)) or not self._unframed(ids) or min(ids) < 0 or max(ids) >= size:
            raise ItemError(
                f"token ids that are not of this model's tokenizer: expected 0 to {size - 1:,} with its special tokens"
                f" {frame} around them; send the text itself (LangChain: check_embedding_ctx_length=False)"
            )

    def text(self, ids: Sequence[int]) -> str:
        """The text of token ids that `check` accepts."""
        inner = next(iter(self._unframed(ids)), [])
        return self.tokenizer.decode(inner, skip_special_tokens=False)

    def _unframed(self, ids: Sequence[int]) -> list[list[int]]:
        """The ids between special tokens, for each way in which those of `frame` may stand around them."""
        given, frame = list(ids), self.frame
        ends = ((place, len(given) - len(frame) + place) for place in range(len(frame) + 1))
        return [given[place:end] for place, end in ends if given[:place] + given[end:] == frame]


def _prepared(texts: Sequence[str], split: bool) -> list[str]:
    """The texts as the tokenizer gets them."""
    valid = map(replace_lone_surrogates, texts)
    return list(map(split_identifiers, valid) if split else valid)
