import json
import string

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors

from unbraid.base_encoders.cut_vocabulary import (
    CODE,
    balanced_pieces,
    count_pieces,
    cut_embeddings,
    cut_tokenizer,
)
from unbraid.training.torchvision_shim import ensure_torchvision

ensure_torchvision()

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
LETTERS = "▁abcdé"
ALONE = len(SPECIAL) + len(LETTERS)  # pieces that are always kept


def unigram(words=(), letters=LETTERS, *, seed=0, added=True, behind=()):
    """A Unigram tokenizer of special tokens, letters and words; words are likelier, as after training."""
    rng = np.random.default_rng(seed)
    vocabulary = [(piece, 0.0) for piece in SPECIAL]
    vocabulary += [(word, -5 - rng.random()) for word in words]
    vocabulary += [(letter, -9 - rng.random()) for letter in letters]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    if added:
        tokenizer.add_special_tokens([AddedToken(piece, special=True) for piece in (*SPECIAL, *behind)])
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
        )
    return tokenizer


def cut(tokenizer, texts, size):
    """The pieces kept and the cut tokenizer; `texts` by language."""
    kept = balanced_pieces(tokenizer, count_pieces(tokenizer, texts), size)
    return kept, cut_tokenizer(tokenizer, kept)


def pieces(tokenizer, kept):
    return [tokenizer.id_to_token(int(row)) for row in kept]


# -- counting ------------------------------------------------------------------------------------------------


def test_pieces_are_counted_by_language_without_the_special_ones():
    tokenizer = unigram(["▁ab", "cd"])
    counts = count_pieces(tokenizer, {"en": iter(["ab abcd", "ab"]), "de": [""]})
    number = tokenizer.token_to_id
    assert counts["en"].sum() == 4
    assert (counts["en"][number("▁ab")], counts["en"][number("cd")]) == (3, 1)
    assert counts["de"].tolist() == [0] * tokenizer.get_vocab_size()


# -- which pieces stay -----------------------------------------------------------------------------------------

words = st.lists(st.text(LETTERS, min_size=2, max_size=4), unique=True, max_size=12)
texts = st.lists(st.text("abcdé ", max_size=12), max_size=6)


@settings(max_examples=60, deadline=None)
@given(words=words, seed=st.integers(0, 99), counted=texts, others=texts, more=st.integers(0, 14))
def test_a_cut_tokenizer_reads_as_the_whole_one_where_it_can_and_never_an_unknown_piece(
    words, seed, counted, others, more
):
    whole = unigram(words, seed=seed)
    kept, tokenizer = cut(whole, {"en": ["a", *counted], "de": others}, ALONE + more)
    assert kept.dtype == np.int64 and (np.diff(kept) > 0).all()
    assert len(kept) == tokenizer.get_vocab_size() == min(ALONE + more, whole.get_vocab_size())
    assert {*SPECIAL, *LETTERS} <= set(pieces(whole, kept))
    for text in (*counted, *others):
        before, after = whole.encode(text), tokenizer.encode(text)
        assert tokenizer.token_to_id("<unk>") not in after.ids
        assert [int(kept[row]) for row in after.ids] == [whole.token_to_id(piece) for piece in after.tokens]
        if set(before.ids) <= set(kept.tolist()):
            assert after.tokens == before.tokens


def test_the_most_frequent_pieces_stay_and_others_are_cut_into_smaller_ones():
    whole = unigram(["▁ab", "▁cd", "▁ad"])
    kept, tokenizer = cut(whole, {"en": ["cd cd cd", "ab ab", "ad"]}, ALONE + 2)
    assert {"▁ab", "▁cd"} <= set(pieces(whole, kept))
    assert tokenizer.encode("ad ab", add_special_tokens=False).tokens == ["▁", "a", "d", "▁ab"]


def test_a_language_counts_by_its_shares_and_not_by_its_amount():
    whole = unigram(["▁ab", "▁cd"])
    given = {"de": ["ab"] * 50 + ["a"] * 50, "el": ["cd"]}
    assert "▁cd" in pieces(whole, cut(whole, given, ALONE + 1)[0])


@pytest.mark.parametrize("language", ["en", CODE])
def test_english_and_code_count_more_than_another_language(language):
    whole = unigram(["▁ab", "▁cd", "▁ad"])
    given = {"de": ["cd"], language: ["ab ad"]}
    assert {"▁ab", "▁ad"} <= set(pieces(whole, cut(whole, given, ALONE + 2)[0]))


def test_letters_stay_and_of_other_characters_those_that_occur():
    whole = unigram(["▁ab", "漢字"], letters=LETTERS + "ωй78漢字한")
    kept = pieces(whole, cut(whole, {"en": ["ab 7"], "zh": ["漢字"]}, ALONE + 5)[0])
    assert set("ωй7漢字") <= set(kept) and not {"8", "한", "▁ab", "漢字"} & set(kept)


def test_the_unknown_piece_stays_where_it_is_no_added_token():
    whole = unigram(["▁ab"], added=False)
    _, tokenizer = cut(whole, {"en": ["ab"]}, len(LETTERS) + 2)
    assert pieces(tokenizer, tokenizer.encode("a!").ids) == ["▁", "a", "<unk>"]


def test_fewer_pieces_than_must_stay_are_refused_with_both_numbers():
    with pytest.raises(ValueError, match=f"{ALONE} special pieces and characters, asked to keep {ALONE - 1}"):
        cut(unigram(), {"en": ["ab"]}, ALONE - 1)


# -- the tokenizer that is left --------------------------------------------------------------------------------


def test_special_tokens_behind_the_vocabulary_keep_their_place():
    whole = unigram(["▁ab", "▁cd"], behind=("<mask>",))
    kept, tokenizer = cut(whole, {"en": ["cd"]}, ALONE + 2)
    assert pieces(whole, kept)[-1] == "<mask>" == tokenizer.id_to_token(ALONE + 1)
    assert tokenizer.encode("cd<mask>").tokens == ["<s>", "▁cd", "<mask>", "</s>"]
    assert json.loads(tokenizer.to_str())["model"]["vocab"][4][0] == "▁cd"


def test_a_vocabulary_of_another_kind_is_refused():
    letters = {letter: number for number, letter in enumerate(["[UNK]", *string.ascii_lowercase])}
    tokenizer = Tokenizer(models.WordPiece(letters, unk_token="[UNK]"))
    with pytest.raises(ValueError, match="type WordPiece, expected Unigram"):
        cut_tokenizer(tokenizer, np.arange(9))


def test_special_tokens_that_no_template_adds_are_refused():
    tokenizer = unigram()
    tokenizer.post_processor = processors.BertProcessing(("</s>", 2), ("<s>", 0))
    with pytest.raises(ValueError, match="type BertProcessing, expected TemplateProcessing"):
        cut_tokenizer(tokenizer, np.arange(ALONE))


# -- the embeddings --------------------------------------------------------------------------------------------


def test_every_piece_keeps_its_row_of_the_embeddings():
    from transformers import BertConfig, BertModel

    whole = unigram(["▁ab", "▁cd"])
    kept, tokenizer = cut(whole, {"en": ["cd"]}, ALONE + 1)
    shape = {"hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 4}
    model = BertModel(BertConfig(vocab_size=whole.get_vocab_size(), **shape), add_pooling_layer=False)
    before = model.get_input_embeddings().weight.detach().clone()
    cut_embeddings(model, kept)
    after = model.get_input_embeddings().weight
    assert after.requires_grad and model.config.vocab_size == len(after) == tokenizer.get_vocab_size()
    for piece, row in tokenizer.get_vocab().items():
        assert torch.equal(after[row], before[whole.token_to_id(piece)])
