"""Reading the beginning of a long text gives the tokens of the whole text."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from unbraid.bundle import STARTER
from unbraid.runtime.long_text import APART, CHARACTERS, tokenize_heads
from unbraid.runtime.word_cache import library_ids, word_cache

MAX_TOKENS = 12


def starter() -> Tokenizer:
    return Tokenizer.from_file(str(STARTER / "tokenizer.json"))


def unigram() -> Tokenizer:
    """As XLM-R's: a whole run without spaces is one search for the likeliest pieces."""
    pieces = ["<unk>", "▁", "a", "b", "é", "中", "ab", "ba", "▁ab", "aba", "中中", "é中"]
    made = Tokenizer(
        models.Unigram([(one, -2.0 - 0.3 * place) for place, one in enumerate(pieces)], 0, False)
    )
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    return made


def tokenize_of(tokenizer: Tokenizer, cached: bool):
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    cache = word_cache(tokenizer, MAX_TOKENS)
    if cached:
        assert cache
        return cache.tokenize
    return lambda texts: library_ids(tokenizer, texts)


KINDS = {
    "words": tokenize_of(starter(), True),
    "library": tokenize_of(starter(), False),
    "unigram": tokenize_of(unigram(), False),
}
TEXTS = st.lists(
    st.tuples(
        st.sampled_from(
            ["a", "é", "中", " ", "\n", "ab ", "\u0301", "\x00", "hello ", "aé中", "a.", "\x85", "[SEP]"]
        ),
        st.sampled_from([1, 3, 40, 101, 600, 2500]),
    ),
    max_size=6,
).map(lambda parts: "".join(text * times for text, times in parts))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(st.lists(TEXTS, max_size=3))
@example(["a" * 5000 + "é", " " * 9000 + "hello", "中" * 5000, "", "a b"])
@example(["a" * 2040 + " " * 20 + "b" * 20, "hello " * 1000])
def test_tokens_and_cuts_are_those_of_the_whole_text(kind, texts):
    assert tokenize_heads(KINDS[kind], texts, MAX_TOKENS) == KINDS[kind](texts)


@pytest.mark.parametrize("text", ["hello é " * 100_000, "数据库" * 200_000, "x1-y2/" * 100_000])
def test_the_work_is_bounded_by_what_is_kept(text):
    read = []

    def tokenize(texts):
        read.extend(map(len, texts))
        return KINDS["words"](texts)

    tokenize_heads(tokenize, [text], MAX_TOKENS)
    assert sum(read) <= 2 * max(CHARACTERS * MAX_TOKENS, 4 * APART)
