"""The cache must give the library's ids, always: a property, held on texts made to break it."""

import random
import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

from unbraid.runtime import word_cache as module
from unbraid.runtime.word_cache import WordCache, library_counts, library_ids, word_cache

MAX_TOKENS = 12
LETTERS = string.ascii_lowercase[:8]
PIECES = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *LETTERS,
    *(f"##{letter}" for letter in LETTERS),
    *(*string.punctuation, "cab", "##bed", "sep", "A", "é", "中"),
]


def bert(*, lowercase=True, clean=True, added=(), longest=100, template=False):
    """A BERT tokenizer of a few pieces."""
    vocabulary = {piece: number for number, piece in enumerate(PIECES)}
    model = models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=longest)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase, clean_text=clean)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    if template:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] [MASK] $A [SEP]", special_tokens=[("[CLS]", 2), ("[MASK]", 4), ("[SEP]", 3)]
        )
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    tokenizer.add_tokens(list(added))
    tokenizer.enable_truncation(MAX_TOKENS)
    return tokenizer


KINDS = {
    "uncased": bert(),
    "cased": bert(lowercase=False),
    "control characters kept": bert(clean=False),
    "template": bert(template=True),
    "words of 5 characters at most": bert(longest=5),
    "added tokens": bert(
        added=["cabbed", AddedToken("be", single_word=True), AddedToken("[X]", lstrip=True)]
    ),
    "added token of the normalized text": bert(added=[AddedToken("Bad", normalized=True)]),
}
CACHES = {kind: word_cache(tokenizer, MAX_TOKENS) for kind, tokenizer in KINDS.items()}

PARTS = st.sampled_from(
    [
        *(
            "[SEP]",
            "[CLS]",
            "[sep]",
            "[",
            "]",
            "SEP",
            "[SE\x00P]",
            "[SE\x0bP]",
            "[S EP]",
            "[X]",
            "Bad",
            "cabbed",
        ),
        *(
            "cab",
            "bed",
            "CAB",
            "a",
            "be",
            "h" * 101,
            "cab" * 40,
            "!" * 30,
            "x",
            "c.a-b",
            "don't",
            "中",
            "É",
            "e\u0301",
        ),
        *(
            " ",
            "  ",
            "\n",
            "\t",
            "\r\n",
            "\x00",
            "\x0b",
            "\x0c",
            "\x1c",
            "\x1f",
            "\x7f",
            "\x85",
            "\xa0",
            "\u2028",
        ),
    ]
)
TEXTS = st.lists(
    PARTS | st.text(max_size=4) | st.text(st.characters(max_codepoint=127), max_size=6), max_size=12
).map("".join)


@pytest.mark.parametrize("kind", KINDS)
def test_every_bert_pipeline_has_a_cache(kind):
    assert isinstance(CACHES[kind], WordCache)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150, deadline=None)
@given(st.lists(TEXTS, max_size=4))
@example([""])
@example(["", " ", "\n"])
@example(["a [SEP] b", "[SEP]", "[CLS] cab", "a[SEP]b"])
@example(["a\x0bb", "a\x1cb c", "a\x00b", "\x7f"])
@example(["! " * 9, "! " * 10, "! " * 11, "!" * 10, "!" * 11, "!" * 300])
@example(["h" * 100, "h" * 101, "h" * 1000])
def test_the_cache_gives_the_librarys_ids_and_cuts(kind, texts):
    expected = library_ids(KINDS[kind], texts)
    assert CACHES[kind].tokenize(texts) == expected
    assert CACHES[kind].tokenize(texts) == expected  # now that every word is known
    whole = KINDS[kind].encode_batch(texts, add_special_tokens=False) if texts else []
    lengths = [sum(len(part.ids) for part in (one, *one.overflowing)) for one in whole]
    assert CACHES[kind].count(texts) == library_counts(KINDS[kind], texts) == lengths


def test_the_starters_tokenizer_and_cache_agree_on_real_texts():
    from unbraid.bundle import STARTER
    from unbraid.export.parity_samples import docstrings

    tokenizer = Tokenizer.from_file(str(STARTER / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(64)
    cache = word_cache(tokenizer, 64)
    texts = [*docstrings(), *(text.replace("e", "é") for text in docstrings()[:20])]
    ids, cut = library_ids(tokenizer, texts)
    assert cut and len(cut) < len(texts)
    assert cache.tokenize(texts) == (ids, cut)


# -- what is remembered ----------------------------------------------------------------------------------------


def cached(**options):
    return word_cache(bert(**options), MAX_TOKENS)


def test_a_word_is_read_once_wherever_it_stands():
    cache = cached()
    cache.tokenize(["cab bed", "bed cab cab", "  cab\n"])
    assert set(cache.words) == {"cab", "bed"}


def test_punctuation_splits_what_is_remembered():
    cache = cached()
    cache.tokenize(["cab.", "(cab)", "Cab"])
    assert set(cache.words) == {"cab.", "(cab)", "cab", "Cab", ".", "(", ")"}


def test_texts_that_python_would_split_elsewhere_leave_no_words():
    cache = cached()
    cache.tokenize(["é cab", "a\x0bb"])
    assert set(cache.words) == {"é", "cab"}


def test_very_long_words_are_not_kept():
    cache = cached()
    cache.tokenize(["h" * module.LONGEST_WORD, "h" * (module.LONGEST_WORD + 1)])
    assert set(map(len, cache.words)) == {module.LONGEST_WORD}


def test_the_memory_is_bounded_and_goes_on(monkeypatch):
    monkeypatch.setattr(module, "MOST_WORDS", 10)
    tokenizer = bert()
    cache = word_cache(tokenizer, MAX_TOKENS)
    rng = random.Random(0)
    texts = [" ".join("".join(rng.choices(LETTERS, k=3)) for _ in range(3)) for _ in range(200)]
    for text in texts:
        assert cache.tokenize([text]) == library_ids(tokenizer, [text])
        assert len(cache.words) <= 10


def test_a_text_is_not_read_beyond_what_is_kept_of_it():
    cache = cached()
    cache.tokenize(["cab " * MAX_TOKENS + "bed"])
    assert set(cache.words) == {"cab"}


# -- where words do not make a text ----------------------------------------------------------------------------


def other(part, value):
    tokenizer = bert()
    setattr(tokenizer, part, value)
    return tokenizer


@pytest.mark.parametrize(
    "tokenizer",
    [
        other("model", models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]")),
        other("normalizer", normalizers.Lowercase()),
        other("normalizer", None),
        other("pre_tokenizer", pre_tokenizers.Metaspace()),
        other("pre_tokenizer", None),
        other("post_processor", None),
        other("post_processor", processors.TemplateProcessing("[CLS] $A $A", special_tokens=[("[CLS]", 2)])),
        bert(added=["cab bed"]),
        bert(added=["a\x0bb"]),
    ],
    ids=[
        *(
            "another model",
            "another normalizer",
            "no normalizer",
            "another pre-tokenizer",
            "no pre-tokenizer",
        ),
        *("no special tokens", "a text twice", "a token with a space", "a token with a control character"),
    ],
)
def test_another_pipeline_has_no_cache(tokenizer):
    assert word_cache(tokenizer, MAX_TOKENS) is None
