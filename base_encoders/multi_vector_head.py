"""The head that turns the last token states of a frozen text encoder into a multi-vector: a projection of each state.

An encoder of few layers was trained for the mean of its states, so a small transformer layer before the projection lets tokens
look at each other once more. Its two inner products begin at zero. One of twelve layers does without
(docs/experiments.md).
"""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import gelu, normalize, scaled_dot_product_attention, softplus

HEAD_FOLDER = "multi_vector"  # in that of its trained encoder
HEAD = 32  # numbers in one attention head
SHARPNESS = 3.0  # of softplus: at 0 a weight is ln 2 / 3


class MultiVectorHead(nn.Module):
    """Token states to unit vectors and weights."""

    def __init__(self, width: int, dim: int, *, inner: int, hidden: int) -> None:
        """From states of `width` to vectors of `dim`; `inner` numbers attend, `hidden` are between the linear layers.

        Both 0: a projection alone.
        """
        super().__init__()
        self.inner, self.hidden = inner, hidden
        self.mean = nn.Parameter(torch.zeros(width), requires_grad=False)
        self.spread = nn.Parameter(torch.ones(width), requires_grad=False)
        if inner:
            self.before_attention = nn.LayerNorm(width)
            self.queries_keys_values, self.attended = nn.Linear(width, 3 * inner), nn.Linear(inner, width)
            nn.init.zeros_(self.attended.weight)
            nn.init.zeros_(self.attended.bias)
        if hidden:
            self.before_linear = nn.LayerNorm(width)
            self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)
            nn.init.zeros_(self.down.weight)
            nn.init.zeros_(self.down.bias)
        self.projection = nn.Linear(width, dim, bias=False)
        self.weight = nn.Linear(width, 1)

    def forward(self, states: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors [B, T, dim] and weights [B, T] of states [B, T, width] with mask [B, T] of 0 and 1."""
        states = (states - self.mean) / self.spread
        if self.inner:
            batch, tokens, _ = states.shape
            several = self.queries_keys_values(self.before_attention(states)).view(batch, tokens, 3, -1, HEAD)
            queries, keys, values = several.permute(2, 0, 3, 1, 4)
            found = scaled_dot_product_attention(queries, keys, values, attn_mask=mask[:, None, None].bool())
            states = states + self.attended(found.transpose(1, 2).reshape(batch, tokens, -1))
        if self.hidden:
            states = states + self.down(gelu(self.up(self.before_linear(states))))
        weights = softplus(self.weight(states)[..., 0], SHARPNESS)
        return normalize(self.projection(states), dim=-1), weights

    def save(self, folder: Path) -> None:
        """Write weights and shape."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file(
            {name: one.contiguous() for name, one in self.state_dict().items()}, folder / "head.safetensors"
        )
        shape = {
            "width": len(self.mean),
            "dim": self.projection.out_features,
            "inner": self.inner,
            "hidden": self.hidden,
        }
        (folder / "head.json").write_text(json.dumps(shape, indent=1))


def late_interaction(query: Tensor, weights: Tensor, document: Tensor, mask: Tensor) -> Tensor:
    """The score [A, B] of each query with each document, as `unbraid.multi_vector.maxsim.maxsim`.

    query [A, Tq, dim] and document [B, Td, dim] are unit length, weights [A, Tq] are 0 where no token is, mask [B, Td] is
    True on the documents' tokens.
    """
    cosines = torch.einsum("aid,bjd->abij", query, document).masked_fill(~mask[None, :, None], -1)
    shares = weights / weights.sum(-1, keepdim=True).clamp(min=1e-6)
    return (cosines.max(-1).values * shares[:, None]).sum(-1)


def load_multi_vector_head(folder: Path) -> MultiVectorHead:
    """Read what `MultiVectorHead.save` wrote."""
    shape = json.loads((folder / "head.json").read_text())
    head = MultiVectorHead(shape["width"], shape["dim"], inner=shape["inner"], hidden=shape["hidden"])
    head.load_state_dict(load_file(folder / "head.safetensors"))
    return head
