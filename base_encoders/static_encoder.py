"""Static text and code encoder: the sum of one row a token, a projection, unit length. No attention, no positions."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn


class StaticEncoder(nn.Module):
    """Token ids and mask to base vectors of the same space as `TextEncoder`'s; used for text and for code."""

    def __init__(self, table: Tensor, projection: Tensor) -> None:
        """Start from `table` [V, width], a row a token, and `projection` [dim, width]."""
        super().__init__()
        self.table = nn.Parameter(table.clone())
        self.projection = nn.Linear(projection.shape[1], projection.shape[0], bias=False)
        with torch.no_grad():
            self.projection.weight.copy_(projection)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Base vectors [B, dim], unit length, of token ids int64 [B, T] with mask int64 [B, T].

        The sum is not divided by the number of tokens: only its direction is kept.
        """
        lengths = mask.sum(1)
        starts = lengths.cumsum(0) - lengths
        summed = nn.functional.embedding_bag(ids[mask.bool()], self.table, starts, mode="sum")
        return nn.functional.normalize(self.projection(summed), dim=-1)

    def save(self, folder: Path) -> None:
        """Write both matrices and their shapes."""
        folder.mkdir(parents=True, exist_ok=True)
        weights = {"table": self.table, "projection": self.projection.weight}
        save_file(
            {name: one.detach().contiguous() for name, one in weights.items()}, folder / "static.safetensors"
        )
        shape = {"tokens": len(self.table), "width": self.table.shape[1], "dim": self.projection.out_features}
        (folder / "encoder.json").write_text(json.dumps({"static": shape}, indent=1))


def load_static_encoder(folder: Path) -> StaticEncoder:
    """Read what `StaticEncoder.save` wrote."""
    weights = load_file(folder / "static.safetensors")
    return StaticEncoder(weights["table"], weights["projection"]).eval()
