import numpy as np
import pytest
import torch
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel

from unbraid.base_encoders.text_encoder import load_backbone, start_text_encoder
from unbraid.distill import cut_backbone as module
from unbraid.distill.cut_backbone import cut_backbone
from unbraid.distill.data.training_items import TrainingItem

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
WORDS = ["▁cat", "▁dog", "▁Hund", "▁Katze", "▁def", "▁return"]
LETTERS = list("▁abcdefghijklmnopqrstuvwxyzHK")
ALONE = len(SPECIAL) + len(LETTERS)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    """A random BERT with a Unigram vocabulary, whose tokenizer truncates."""
    folder = tmp_path_factory.mktemp("backbone")
    scores = np.random.default_rng(0).random(ALONE + len(WORDS))
    vocabulary = [(piece, 0.0) for piece in SPECIAL]
    vocabulary += [(piece, -5 - score) for piece, score in zip([*WORDS, *LETTERS], scores, strict=False)]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.add_special_tokens([AddedToken(piece, special=True) for piece in SPECIAL])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.enable_truncation(5)
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(0)
    shape = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 8}
    config = BertConfig(vocab_size=len(vocabulary), initializer_range=0.2, pad_token_id=1, **shape)
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


ITEMS = [
    *[TrainingItem("cat cat", "text")] * 30,
    TrainingItem("Hund", "text", language="de"),
    TrainingItem("return", "code"),
]


def tokenizer_in(folder):
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def test_each_language_and_code_keep_what_they_need(backbone, tmp_path):
    cut_backbone(ITEMS, backbone, ALONE + 3, tmp_path / "cut")
    pieces = tokenizer_in(tmp_path / "cut").get_vocab()
    assert {"▁cat", "▁Hund", "▁return"} == set(pieces) & set(WORDS) and len(pieces) == ALONE + 3


def test_texts_of_kept_pieces_get_the_same_vectors(backbone, tmp_path):
    cut_backbone(ITEMS, backbone, ALONE + 3, tmp_path / "cut")
    states = []
    for folder in (backbone, tmp_path / "cut"):
        ids = torch.tensor([tokenizer_in(folder).encode("cat Hund return").ids])
        with torch.inference_mode():
            states.append(load_backbone(folder).eval()(input_ids=ids).last_hidden_state)
    assert torch.equal(*states)
    assert start_text_encoder(tmp_path / "cut", 16).backbone.config.vocab_size == ALONE + 3


def test_a_lost_word_is_cut_into_letters(backbone, tmp_path):
    cut_backbone(ITEMS, backbone, ALONE + 3, tmp_path / "cut")
    tokens = tokenizer_in(tmp_path / "cut").encode("dog", add_special_tokens=False).tokens
    assert tokens == ["▁", "d", "o", "g"]


def test_texts_are_counted_whole(backbone, tmp_path):
    """The backbone's own tokenizer truncates, and a word at the end of a long text counts as well."""
    items = [TrainingItem("cat cat cat cat cat Katze Katze", "text")]
    cut_backbone(items, backbone, ALONE + 2, tmp_path / "cut")
    assert {"▁cat", "▁Katze"} <= set(tokenizer_in(tmp_path / "cut").get_vocab())


def test_of_a_language_the_first_items_are_counted(backbone, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "COUNTED", 2)
    items = [TrainingItem(text, "text") for text in ("cat", "cat", "dog dog dog dog dog")]
    cut_backbone(items, backbone, ALONE + 1, tmp_path / "cut")
    assert "▁cat" in tokenizer_in(tmp_path / "cut").get_vocab()


def test_too_small_a_vocabulary_leaves_nothing(backbone, tmp_path):
    with pytest.raises(ValueError, match="asked to keep 7 pieces"):
        cut_backbone(ITEMS, backbone, 7, tmp_path / "cut")
    assert not list(tmp_path.iterdir())
