"""Labelled texts and code as token ids with base vectors as targets: the training data of the text students."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from unbraid.distill.labels.label_shard import Labels
from unbraid.distill.space.base_space import BaseSpace
from unbraid.runtime.batching import token_budget_batches
from unbraid.runtime.code_text import split_identifiers

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


def text_set(shards: Sequence[Labels], space: BaseSpace, tokenizer: Tokenizer, code_anchor: float) -> TextSet:
    """Token ids and targets of every labelled text and code snippet."""
    ids: list[list[int]] = []
    targets: list[np.ndarray] = []
    base_of: dict[str, np.ndarray] = {}
    anchors: list[tuple[int, str]] = []
    for whole in shards:
        shard = whole.take([row for row, modality in enumerate(whole.modalities) if modality != "image"])
        base = space.project(shard.vectors).astype(np.float16)
        for row, modality in enumerate(shard.modalities):
            if modality == "text":
                base_of[shard.texts[row]] = base[row]
            elif shard.anchors[row]:
                anchors.append((sum(map(len, targets)) + row, shard.anchors[row]))
        targets.append(base)
        texts = [
            split_identifiers(text) if modality == "code" else text
            for text, modality in zip(shard.texts, shard.modalities, strict=True)
        ]
        ids.extend(encoding.ids for encoding in tokenizer.encode_batch_fast(texts))
    joined = np.concatenate(targets)
    for row, anchor in anchors:
        if anchor in base_of:
            mixed = (1 - code_anchor) * joined[row] + code_anchor * base_of[anchor]
            joined[row] = mixed / np.linalg.norm(mixed.astype(np.float32))
    return TextSet(ids, joined)


def tensors(data: TextSet, rows: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """ids int64 [B, T], mask int64 [B, T], targets float32 [B, 512]."""
    ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(data.ids[row]) for row in rows], batch_first=True)
    lengths = torch.tensor([len(data.ids[row]) for row in rows])
    mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
    return ids, mask, torch.from_numpy(data.targets[rows]).float()


@torch.inference_mode()
def held_out_cosine(encoder: nn.Module, data: TextSet) -> float:
    """Mean cosine of the held-out items to their targets."""
    lengths = [len(ids) for ids in data.ids[: data.held_out]]
    total = 0.0
    for rows in token_budget_batches(lengths, budget=4096):
        ids, mask, target = tensors(data, rows)
        total += float((encoder(ids, mask) * target).sum())
    return total / len(lengths)
