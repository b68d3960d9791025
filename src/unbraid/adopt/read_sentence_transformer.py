"""A folder of sentence-transformers: its own modules, from token ids to one vector of unit length."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from unbraid.adopt.models import AdoptedModel, TextModel
from unbraid.teacher.silence_transformers import silence_transformers
from unbraid.training.torchvision_shim import ensure_torchvision
from unbraid.vectors import normalize


class SentenceEncoder(nn.Module):
    """Modules of sentence-transformers one after another, then unit length."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        """Share the `modules`, of which the first takes token ids."""
        super().__init__()
        self.stages = nn.ModuleList(modules)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Unit vectors [B, dim] of token ids int64 [B, T] with mask int64 [B, T]."""
        features = {"input_ids": ids, "attention_mask": mask}
        for stage in self.stages:
            features = stage(features)
        return nn.functional.normalize(features["sentence_embedding"], dim=-1)


def read_sentence_transformer(folder: Path) -> AdoptedModel:
    """The model in `folder`."""
    model = _load(folder)
    encoder = SentenceEncoder(list(model)).eval()
    tokenizer = Tokenizer.from_str(model.tokenizer.backend_tokenizer.to_str())
    max_tokens = model.max_seq_length
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)

    def original(texts: Sequence[str], prompt: str | None) -> np.ndarray:
        vectors = model.encode(list(texts), prompt=prompt or "", show_progress_bar=False)
        return normalize(np.asarray(vectors, dtype=np.float32))

    text = TextModel(encoder, tokenizer, max_tokens, _dim(encoder), {}, original)
    return AdoptedModel(folder.name, "", text, None)


def _load(folder: Path) -> Any:
    """The model, on the CPU in float32; its attention is the plain one, which onnxruntime can fuse."""
    ensure_torchvision()
    from sentence_transformers import SentenceTransformer

    options = {"attn_implementation": "eager", "dtype": torch.float32, "use_safetensors": True}
    with silence_transformers():
        return SentenceTransformer(
            str(folder), device="cpu", local_files_only=True, model_kwargs=options
        ).eval()


def _dim(encoder: nn.Module) -> int:
    with torch.inference_mode():
        ones = torch.ones((1, 4), dtype=torch.long)
        return int(encoder(ones, ones).shape[1])
