"""Labelled texts and code as token ids with base vectors as targets: the training data of the text students."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from unbraid.distill.labels.label_shard import Labels
from unbraid.distill.recipe import TextTraining
from unbraid.distill.space.base_space import BaseSpace
from unbraid.runtime.batching import token_budget_batches
from unbraid.runtime.code_text import split_identifiers
from unbraid.runtime.text_language import is_english

HELD_OUT = 1024  # labelled items (a tenth if there are few) kept out of training, for the held-out cosine


@dataclass(frozen=True)
class TextSet:
    """Tokenized items and their targets. The target of code is mixed with that of its description."""

    ids: list[list[int]]
    targets: np.ndarray  # float16 [n, 512], unit length

    @property
    def held_out(self) -> int:
        """How many of the first items are never trained on."""
        return min(HELD_OUT, len(self.ids) // 10)


def text_tokenizer(path: Path, max_tokens: int) -> Tokenizer:
    """The tokenizer in `path`, truncating at `max_tokens` and not padding."""
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return tokenizer


def text_set(
    shards: Iterable[Labels], space: BaseSpace, tokenizer: Tokenizer, config: TextTraining
) -> TextSet:
    """Token ids and targets of the labelled texts and code snippets that `config` trains on."""
    ids: list[list[int]] = []
    targets: list[np.ndarray] = []
    base_of: dict[str, np.ndarray] = {}
    anchors: list[tuple[int, str]] = []
    for whole in shards:
        shard = whole.take(
            [row for row in range(len(whole.texts)) if _trained_on(whole, row, config.english)]
        )
        base = space.project(shard.vectors).astype(np.float16)
        for row, modality in enumerate(shard.modalities):
            if modality == "text":
                base_of[shard.texts[row]] = base[row]
            elif shard.anchors[row]:
                anchors.append((len(ids) + row, shard.anchors[row]))
        targets.append(base)
        texts = [
            split_identifiers(text) if modality == "code" and config.split_identifiers else text
            for text, modality in zip(shard.texts, shard.modalities, strict=True)
        ]
        ids.extend(encoding.ids for encoding in tokenizer.encode_batch_fast(texts))
    joined = np.concatenate(targets)
    for row, anchor in anchors:
        if anchor in base_of:
            mixed = (1 - config.code_anchor) * joined[row] + config.code_anchor * base_of[anchor]
            joined[row] = mixed / np.linalg.norm(mixed.astype(np.float32))
    return TextSet(ids, joined)


def _trained_on(labels: Labels, row: int, english: bool) -> bool:
    """Whether a student is trained on the item: not on pictures, and an English one not on what it would not be given."""
    modality = labels.modalities[row]
    return modality == "code" or (modality == "text" and (not english or is_english(labels.texts[row])))


def tensors(data: TextSet, rows: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """ids int64 [B, T], mask int64 [B, T], targets float32 [B, 512]."""
    ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(data.ids[row]) for row in rows], batch_first=True)
    lengths = torch.tensor([len(data.ids[row]) for row in rows])
    mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
    return ids, mask, torch.from_numpy(data.targets[rows]).float()


@torch.inference_mode()
def held_out_cosine(encoder: nn.Module, data: TextSet, dtype: torch.dtype = torch.float32) -> float:
    """Mean cosine of the held-out items to their targets; `dtype` is that of the matrix products."""
    lengths = [len(ids) for ids in data.ids[: data.held_out]]
    total = 0.0
    for rows in token_budget_batches(lengths, budget=4096):
        ids, mask, target = tensors(data, rows)
        with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
            total += float((encoder(ids, mask).float() * target).sum())
    return total / len(lengths)
