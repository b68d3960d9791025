"""Tiny models with random weights in the layouts that their libraries publish, made once a session."""

import json
import string
from pathlib import Path

import pytest

WIDTH = 64
WORDS = "cat dog house car tree river stone the of and read write file text value list return".split()


def tiny_tokenizer():
    """A word-piece tokenizer of letters, digits and a few words, as transformers has it."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    characters = string.ascii_lowercase + string.digits
    pieces = dict.fromkeys(
        [*"[PAD] [UNK] [CLS] [SEP] [MASK]".split(), *characters, *string.punctuation, *WORDS]
        + [f"##{character}" for character in characters]
    )
    tokenizer = Tokenizer(
        models.WordPiece({one: number for number, one in enumerate(pieces)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=64,
    )


def tiny_bert(folder: Path, **settings):
    """A BERT of two layers in transformers' layout."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
        max_position_embeddings=64,
        initializer_range=0.2,  # at BERT's own 0.02 all texts get nearly the same vector
        **settings,
    )
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def bert(tmp_path_factory):
    """A plain transformers encoder. Tests must not change it."""
    from unbraid.training.torchvision_shim import ensure_torchvision

    ensure_torchvision()
    return tiny_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="session")
def transformer(bert):
    """`transformer()`: the encoder as the first module of a sentence-transformers model."""
    from sentence_transformers.sentence_transformer.modules import Transformer

    return lambda: Transformer(str(bert), model_kwargs={"attn_implementation": "eager"})


@pytest.fixture
def save(tmp_path):
    """`save(*modules, **settings)`: the folder of a sentence-transformers model."""
    from sentence_transformers import SentenceTransformer

    def write(*modules, **settings):
        folder = tmp_path / "model"
        SentenceTransformer(modules=list(modules), device="cpu", **settings).save(str(folder))
        return folder

    return write


@pytest.fixture(scope="session")
def published(bert, tmp_path_factory):
    """A model of sentence-transformers with mean pooling, as most are. Tests must not change it."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    folder = tmp_path_factory.mktemp("published") / "tiny-mean"
    modules = [Transformer(str(bert)), Pooling(WIDTH, "mean"), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save(str(folder))
    return folder


@pytest.fixture
def copy_of(tmp_path):
    """`copy_of(folder)`: a copy, to be damaged."""
    import shutil

    def copy(folder):
        return Path(shutil.copytree(folder, tmp_path / "copy"))

    return copy


@pytest.fixture
def edit():
    """`edit(path, **changes)`: change entries of a JSON object in a file."""

    def change(path, **changes):
        about = json.loads(path.read_text()) | changes
        path.write_text(json.dumps(about))

    return change
