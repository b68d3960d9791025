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
from unbraid.distill.data.text_set import text_tokenizer
from unbraid.progress import track
from unbraid.runtime.batching import token_budget_batches

ToBase: TypeAlias = Callable[[list[str]], Tensor]  # texts -> base vectors [n, D]


def load_students(run: Path, *, max_tokens: int, dtype: torch.dtype) -> dict[str, ToBase]:
    """The text tiers of `run` by name; "text" comes first and is always there."""
    encoders: dict[str, nn.Module] = {"text": load_text_encoder(run / "text").eval()}
    if (run / "nano" / "record.json").exists():
        encoders["nano"] = load_static_encoder(run / "nano").eval()
    return {
        name: partial(encode, encoder, text_tokenizer(run / name / "tokenizer.json", max_tokens), dtype=dtype)
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
