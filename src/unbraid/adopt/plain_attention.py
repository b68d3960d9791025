"""torch's MultiheadAttention in plain products, which export for any length of text."""

import copy

from torch import Tensor, nn


class PlainAttention(nn.Module):
    """The same numbers as the MultiheadAttention whose weights it shares. Tracing that one fixes the number of tokens."""

    def __init__(self, original: nn.MultiheadAttention) -> None:
        """Share the weights of `original`, whose queries, keys and values have one width."""
        super().__init__()
        self.weight, self.bias, self.out = original.in_proj_weight, original.in_proj_bias, original.out_proj
        self.heads, self.batch_first = original.num_heads, original.batch_first

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, need_weights: bool = False, attn_mask: Tensor | None = None
    ) -> tuple[Tensor, None]:
        """Attended values [B, T, D] of queries [B, T, D] over keys and values [B, S, D], and None for the weights.

        Where `batch_first` is False the first two axes are swapped. `attn_mask` [T, S] is added to the scores.
        """
        parts = [
            self._heads(nn.functional.linear(x, weight, bias))
            for x, weight, bias in zip((q, k, v), self.weight.chunk(3), self.bias.chunk(3), strict=True)
        ]
        query, key, value = parts
        scores = query @ key.transpose(-1, -2) * (query.shape[-1] ** -0.5)
        if attn_mask is not None:
            scores = scores + attn_mask
        mixed = (scores.softmax(dim=-1) @ value).transpose(1, 2).flatten(2)
        return self.out(mixed if self.batch_first else mixed.transpose(0, 1)), None

    def _heads(self, x: Tensor) -> Tensor:
        """[B, heads, T, D / heads] of [B, T, D]."""
        x = x if self.batch_first else x.transpose(0, 1)
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def with_plain_attention(module: nn.Module) -> nn.Module:
    """A copy of `module` with PlainAttention where MultiheadAttention has queries, keys and values of one width."""
    plain = copy.deepcopy(module)
    found = {name: one for name, one in plain.named_modules() if isinstance(one, nn.MultiheadAttention)}
    for name, one in found.items():
        if one.in_proj_weight is not None and one.in_proj_bias is not None and one.bias_k is None:
            parent, _, last = name.rpartition(".")
            setattr(plain.get_submodule(parent), last, PlainAttention(one))
    return plain
