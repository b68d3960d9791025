"""The trained students of a run, as functions from texts to base vectors."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeAlias

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from unbraid.base_encoders.static_encoder import load_static_encoder
from unbraid.base_encoders.text_encoder import load_text_encoder
from unbraid.bundle import SMALL
from unbraid.distill.data.text_set import text_tokenizer
from unbraid.distill.recipe import Recipe
from unbraid.progress import track
from unbraid.runtime.batching import token_budget_batches

ToBase: TypeAlias = Callable[[list[str]], Tensor]  # texts -> base vectors [n, D]


def load_students(recipe: Recipe, run: Path, *, dtype: torch.dtype) -> dict[str, ToBase]:
    """The trained text tiers of `recipe` in `run`, by name."""
    encoders: dict[str, nn.Module] = {tier: load_text_encoder(run / tier).eval() for tier in recipe.text}
    lengths: dict[str, int] = {tier: config.max_tokens for tier, config in recipe.text.items()}
    if recipe.nano:
        encoders["nano"] = load_static_encoder(run / "nano").eval()
    return {
        name: partial(
            encode,
            encoder,
            text_tokenizer(run / name / "tokenizer.json", lengths.get(name, recipe.text[SMALL].max_tokens)),
            dtype=dtype,
        )
        for name, encoder in encoders.items()
    }


@torch.inference_mode()
def encode(
    encoder: nn.Module, tokenizer: Tokenizer, texts: list[str], dtype: torch.dtype = torch.float32
) -> Tensor:
    """Base vectors float32 [n, 512] of `texts`, in order."""
    encodings = tokenizer.encode_batch_fast(texts)
    batches = token_budget_batches([len(encoding.ids) for encoding in encodings], budget=4096)
    parts = []
    for batch in track(batches, "encode", unit="batches"):
        ids = nn.utils.rnn.pad_sequence([torch.tensor(encodings[i].ids) for i in batch], batch_first=True)
        lengths = torch.tensor([len(encodings[i].ids) for i in batch])
        mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
        with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
            parts.append(encoder(ids, mask).float())
    order = torch.tensor([row for batch in batches for row in batch])
    return torch.cat(parts)[order.argsort()]
