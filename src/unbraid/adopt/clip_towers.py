"""The text towers of CLIP-type models, for texts that are padded only as far as a batch needs.

Where every token looks back only and the vector is taken at the end of the text, what follows the text does not matter, and a
short text takes little time. Where tokens look at the padding (SigLIP), the padding is part of what the model has learned:
the graph then pads each text to the full length itself.
"""

from typing import Any

import torch
from torch import Tensor, nn

from unbraid.adopt.plain_attention import with_plain_attention


class OpenClipText(nn.Module):
    """Token ids to unit vectors, by the text tower of an open_clip model."""

    causal: Tensor | None

    def __init__(self, model: Any, pad: int, *, whole: bool) -> None:
        """Share the weights of `model`, a CLIP or CustomTextCLIP. `pad` is the id after a text; `whole`: it counts."""
        super().__init__()
        tower = getattr(model, "text", model)
        self.embedding, self.norm = tower.token_embedding, tower.ln_final
        self.layers = with_plain_attention(tower.transformer)
        self.positions, self.projection = tower.positional_embedding, tower.text_projection
        self.register_buffer("causal", tower.attn_mask, persistent=False)
        self.pool, self.end = _pooling(model)
        self.pad, self.whole = pad, whole

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Unit vectors [B, dim] of token ids int64 [B, T] with mask int64 [B, T]."""
        # Even where padding does not count, ONNX would drop a mask that nothing reads.
        ids = padded(ids, mask, self.pad, len(self.positions) if self.whole else None)
        tokens = ids.shape[1]
        causal = None if self.causal is None else self.causal[:tokens, :tokens]
        hidden = self.norm(self.layers(self.embedding(ids) + self.positions[:tokens], attn_mask=causal))
        pooled = self._pooled(hidden, ids)
        if isinstance(self.projection, nn.Linear):
            pooled = self.projection(pooled)
        elif self.projection is not None:
            pooled = pooled @ self.projection
        return nn.functional.normalize(pooled, dim=-1)

    def _pooled(self, hidden: Tensor, ids: Tensor) -> Tensor:
        if self.pool == "first":
            return hidden[:, 0]
        if self.pool == "last":
            return hidden[:, -1]
        # ONNX has an argmax of 32-bit numbers; the first of equals wins, as in torch.
        found = ids if self.pool == "argmax" else ids == self.end
        return hidden[torch.arange(hidden.shape[0]), found.to(torch.int32).argmax(dim=-1)]


def padding_counts(model: Any, *, own_tokenizer: bool) -> bool:
    """Whether a vector of an open_clip model depends on the padding after a text, or can be traced for one length only.

    With open_clip's own tokenizer the end of a text has the largest id; with another one the padding may have it.
    """
    tower = getattr(model, "text", model)
    looks_back = tower.attn_mask is not None and _pooling(model)[0] in ("first", "argmax", "eos")
    traceable = all(isinstance(block.attn, nn.MultiheadAttention) for block in tower.transformer.resblocks)
    return not (looks_back and own_tokenizer and traceable)


def _pooling(model: Any) -> tuple[str, int]:
    if hasattr(model, "text"):
        return model.text.pool_type, model.text.eos_id
    return model.text_pool_type, model.text_eos_id


class ClipText(nn.Module):
    """Token ids to unit vectors, by the text tower of a CLIPModel of transformers, whose tokens only look back."""

    def __init__(self, model: Any) -> None:
        """Share the weights of `model`."""
        super().__init__()
        self.tower, self.projection = model.text_model, model.text_projection

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Unit vectors [B, dim] of token ids int64 [B, T] with mask int64 [B, T]."""
        pooled = self.tower(input_ids=ids, attention_mask=mask).pooler_output
        return nn.functional.normalize(self.projection(pooled), dim=-1)


class SiglipText(nn.Module):
    """Token ids to unit vectors, by the text tower of a SiglipModel of transformers, whose tokens look at the padding."""

    def __init__(self, model: Any, pad: int, length: int) -> None:
        """Share the weights of `model`; texts are padded with `pad` to `length` tokens."""
        super().__init__()
        self.tower, self.pad, self.length = model.text_model, pad, length

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Unit vectors [B, dim] of token ids int64 [B, T] with mask int64 [B, T]."""
        whole = padded(ids, mask, self.pad, self.length)
        return nn.functional.normalize(self.tower(input_ids=whole).pooler_output, dim=-1)


def padded(ids: Tensor, mask: Tensor, pad: int, length: int | None) -> Tensor:
    """Token ids int64 [B, length or T]: those of `ids` [B, T] where `mask` is 1, and `pad` everywhere else."""
    real = torch.where(mask.bool(), ids, torch.full_like(ids, pad))
    if length is None:
        return real
    rest = torch.full((ids.shape[0], length - ids.shape[1]), pad, dtype=ids.dtype)
    return torch.cat([real, rest], dim=1)


class Pictures(nn.Module):
    """Pixels to unit vectors, by an image tower whose vectors have any length."""

    def __init__(self, tower: nn.Module, projection: nn.Module | None = None) -> None:
        """Share the `tower`, pixels -> a tensor [B, width] or an output with `pooler_output`, and its `projection`."""
        super().__init__()
        self.tower, self.projection = tower, projection or nn.Identity()

    def forward(self, pixels: Tensor) -> Tensor:
        """Unit vectors [B, dim] of pixels float32 [B, 3, size, size]."""
        found = self.tower(pixels)
        pooled = found if isinstance(found, Tensor) else found.pooler_output
        return nn.functional.normalize(self.projection(pooled), dim=-1)
