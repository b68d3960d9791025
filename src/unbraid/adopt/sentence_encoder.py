"""Modules of sentence-transformers as one encoder, and the static ones in operators that ONNX has."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class SentenceEncoder(nn.Module):
    """Modules of sentence-transformers one after another, then unit length."""

    def __init__(self, stages: Sequence[nn.Module], prompt_tokens: int = 0) -> None:
        """Share the `stages`, of which the first takes token ids.

        `prompt_tokens` is how many tokens of every text are its prompt, for a pooling that leaves them out.
        """
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.prompt_tokens = prompt_tokens

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Unit vectors float32 [B, dim] of token ids int64 [B, T] with mask int64 [B, T]."""
        features: dict[str, Any] = {"input_ids": ids, "attention_mask": mask}
        if self.prompt_tokens:
            features["prompt_length"] = self.prompt_tokens
        for stage in self.stages:
            features = stage(features)
        return nn.functional.normalize(features["sentence_embedding"], dim=-1)


class StaticStage(nn.Module):
    """The mean of one row a token, in place of an embedding bag. Tokens of the id `unknown` do not count.

    `rounded` is the same with its rows in int8, each on its own scale. A row is looked up and scaled, never multiplied by
    another int8, so nothing overflows.
    """

    def __init__(self, table: Tensor, unknown: int | None = None, scale: Tensor | None = None) -> None:
        """Take the rows `table` [V, dim], float32, or int8 with a `scale` [V] for each."""
        super().__init__()
        self.table = nn.Parameter(table, requires_grad=False)
        self.scale = None if scale is None else nn.Parameter(scale, requires_grad=False)
        self.unknown = unknown

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Add sentence_embedding [B, dim]: zeros for a text without tokens."""
        ids, mask = features["input_ids"], features["attention_mask"]
        if self.unknown is not None:
            mask = mask * (ids != self.unknown)
        counted = mask.float()
        weights = counted if self.scale is None else counted * self.scale[ids]
        summed = torch.bmm(weights[:, None], self.table[ids].float())[:, 0]
        return features | {"sentence_embedding": summed / counted.sum(1, keepdim=True).clamp(min=1)}

    def rounded(self) -> "StaticStage":
        """The same with int8 rows."""
        scale = self.table.abs().amax(1).clamp(min=1e-12) / 127
        return StaticStage((self.table / scale[:, None]).round().to(torch.int8), self.unknown, scale)


class Truncated(nn.Module):
    """The first dimensions of a sentence embedding, as sentence-transformers cuts with truncate_dim."""

    def __init__(self, dim: int) -> None:
        """Keep `dim` dimensions."""
        super().__init__()
        self.dim = dim

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """The features with a shorter sentence_embedding [B, dim]."""
        return features | {"sentence_embedding": features["sentence_embedding"][:, : self.dim]}


class Projected(nn.Module):
    """An encoder, a linear layer without bias, unit length."""

    def __init__(self, encoder: nn.Module, matrix: Tensor) -> None:
        """Put `matrix` [out, dim] after `encoder`."""
        super().__init__()
        self.encoder = encoder
        self.projection = nn.Linear(matrix.shape[1], matrix.shape[0], bias=False)
        with torch.no_grad():
            self.projection.weight.copy_(matrix)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Unit vectors [B, out] of what the encoder takes."""
        return nn.functional.normalize(self.projection(self.encoder(*inputs)), dim=-1)
