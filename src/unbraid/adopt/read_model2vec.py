"""A static model of model2vec: one row a token, the mean of the rows of a text."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from unbraid.adopt.model_card import read_licence
from unbraid.adopt.models import AdoptedModel, TextModel
from unbraid.adopt.sentence_encoder import SentenceEncoder, StaticStage
from unbraid.adopt.static_tokenizer import without_special_tokens
from unbraid.errors import AdoptError, require
from unbraid.vectors import normalize

LONGEST = 8192  # tokens, of a model that sets no limit


def read_model2vec(folder: Path) -> AdoptedModel:
    """The model2vec model in `folder`. Raises AdoptError, which names the file, for one that cannot be read.

    Its library cuts a long text by characters, before it is tokenized; a bundle cuts it by tokens alone.
    """
    require("model2vec", "export")
    from model2vec import StaticModel

    for name in ("model.safetensors", "tokenizer.json"):
        if not (folder / name).is_file():
            raise AdoptError(f"{folder / name}: not found, and a model2vec model needs it")
    try:
        model = StaticModel.from_pretrained(folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AdoptError(f"{folder}: cannot be loaded: {type(error).__name__}: {error}") from error
    model.embedding = np.asarray(model.embedding, dtype=np.float32)  # its sums are then exact, too
    rows = model.embedding if model.token_mapping is None else model.embedding[model.token_mapping]
    if model.weights is not None:
        rows = rows * np.asarray(model.weights, dtype=np.float32)[:, None]
    tokenizer = without_special_tokens(model.tokenizer)
    max_tokens = min(model.max_length or LONGEST, LONGEST)
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)

    def original(texts: Sequence[str], prompt: str | None) -> np.ndarray:
        # Whole, then cut by tokens: what a bundle does.
        whole = model.encode(
            [(prompt or "") + one for one in texts], max_length=None, use_multiprocessing=False
        )
        return normalize(np.asarray(whole, dtype=np.float32))

    stage = StaticStage(torch.from_numpy(np.ascontiguousarray(rows, dtype=np.float32)), model.unk_token_id)
    encoder = SentenceEncoder([stage]).eval()
    about = {"modules": [["model2vec", {"unknown": model.unk_token_id}]]}
    text = TextModel(encoder, tokenizer, max_tokens, model.dim, {}, original, about)
    return AdoptedModel(folder.name, read_licence(folder), text, None)
