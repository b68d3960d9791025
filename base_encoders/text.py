"""Text and code base encoder: a transformers backbone, masked mean pooling, a projection, unit length."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from unbraid.torchvision_shim import ensure_torchvision


def mean_pooling(hidden: Tensor, mask: Tensor) -> Tensor:
    """Mean of the hidden states of real tokens: hidden [B, T, D], mask [B, T] of 0 and 1 -> [B, D]."""
    weights = mask[..., None].to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)


class TextEncoder(nn.Module):
    """Token ids and mask to base vectors; used for text and for code."""

    def __init__(self, backbone: nn.Module, projection: nn.Linear) -> None:
        """Join a transformers `backbone` (no pooler) and a `projection` from its width to the base dim."""
        super().__init__()
        self.backbone = backbone
        self.projection = projection

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Base vectors [B, dim], unit length, of token ids int64 [B, T] with mask int64 [B, T]."""
        hidden = self.backbone(input_ids=ids, attention_mask=mask).last_hidden_state
        pooled = mean_pooling(hidden.float(), mask)
        return nn.functional.normalize(self.projection(pooled), dim=-1)

    def save(self, folder: Path) -> None:
        """Write the backbone in its published layout and the projection beside it."""
        folder.mkdir(parents=True, exist_ok=True)
        self.backbone.save_pretrained(folder / "backbone")  # type: ignore[operator]
        save_file({"weight": self.projection.weight.detach().contiguous()}, folder / "projection.safetensors")
        shape = {"in": self.projection.in_features, "out": self.projection.out_features}
        (folder / "encoder.json").write_text(json.dumps({"projection": shape}, indent=1))


def start_text_encoder(
    backbone: str | Path, projection: Tensor, *, layers: Sequence[int] = ()
) -> TextEncoder:
    """A student that starts as part of a pre-trained model.

    `backbone` is a folder or hub id of any transformers encoder; `layers` are the layers kept (all when
    empty); `projection` [dim, width] is what the backbone's own pooled vectors are first projected by.
    Raises ValueError when a layer does not exist.
    """
    model = _load_backbone(backbone)
    if layers:
        stack = model.encoder.layer if hasattr(model, "encoder") else model.layers
        if max(layers) >= len(stack):
            raise ValueError(f"{backbone} has {len(stack)} layers, asked to keep {list(layers)}")
        kept = nn.ModuleList(stack[number] for number in layers)
        if hasattr(model, "encoder"):
            model.encoder.layer = kept
        else:
            model.layers = kept
        model.config.num_hidden_layers = len(layers)
    linear = nn.Linear(projection.shape[1], projection.shape[0], bias=False)
    with torch.no_grad():
        linear.weight.copy_(projection)
    return TextEncoder(model, linear)


def load_text_encoder(folder: Path, *, attention: str = "sdpa") -> TextEncoder:
    """Read what `TextEncoder.save` wrote; `attention` "eager" is what the ONNX optimiser can fuse."""
    shape = json.loads((folder / "encoder.json").read_text())["projection"]
    linear = nn.Linear(shape["in"], shape["out"], bias=False)
    linear.load_state_dict(load_file(folder / "projection.safetensors"))
    return TextEncoder(_load_backbone(folder / "backbone", attention=attention), linear)


def _load_backbone(source: str | Path, *, attention: str = "sdpa") -> nn.Module:
    ensure_torchvision()
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.from_pretrained(source)
    pooler = {"add_pooling_layer": False} if config.model_type in ("bert", "roberta", "xlm-roberta") else {}
    model: nn.Module = AutoModel.from_pretrained(
        source, config=config, dtype=torch.float32, attn_implementation=attention, **pooler
    )
    return model
