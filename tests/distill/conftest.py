import os

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors


@pytest.fixture(scope="module", autouse=True)
def no_fsync():
    """Writing through to the disk takes up to a second where it is busy, and no test here cuts the power."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="session")
def word_backbone(tmp_path_factory):
    """`word_backbone(words, **config)`: the folder of a random BERT with two heads and a tokenizer of whole words."""

    def make(words, **config):
        from transformers import BertConfig, BertModel

        folder = tmp_path_factory.mktemp("backbone")
        pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words]
        ids = {piece: number for number, piece in enumerate(pieces)}
        tokenizer = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
        tokenizer.save(str(folder / "tokenizer.json"))
        torch.manual_seed(0)
        settings = BertConfig(vocab_size=len(pieces), num_attention_heads=2, **config)
        BertModel(settings, add_pooling_layer=False).save_pretrained(folder)
        return folder

    return make
