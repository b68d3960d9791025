"""Text and code base encoder: a transformers backbone, masked mean pooling of its last layers, a projection, unit length."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from unbraid.training.torchvision_shim import ensure_torchvision


def mean_pooling(hidden: Tensor, mask: Tensor) -> Tensor:
    """Mean of the hidden states of real tokens: hidden [B, T, D], mask [B, T] of 0 and 1 -> [B, D]."""
    weights = mask[..., None].to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)


class TextEncoder(nn.Module):
    """Token ids and mask to base vectors; used for text and for code."""

    def __init__(self, backbone: nn.Module, projection: nn.Linear) -> None:
        """Join a transformers `backbone` (no pooler) and a `projection` from a multiple of its width to the base dim.

        The multiple is the number of its last layers that are pooled.
        """
        super().__init__()
        self.backbone = backbone
        self.projection = projection

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Base vectors [B, dim], unit length, of token ids int64 [B, T] with mask int64 [B, T]."""
        return nn.functional.normalize(self.projection(self.pooled(ids, mask)), dim=-1)

    def pooled(self, ids: Tensor, mask: Tensor) -> Tensor:
        """The mean hidden states of the backbone's last layers, side by side: [B, width of the projection]."""
        states = self.states(ids, mask)
        layers = self.projection.in_features // states[-1].shape[-1]
        return torch.cat([mean_pooling(state.float(), mask) for state in states[-layers:]], dim=-1)

    def states(self, ids: Tensor, mask: Tensor) -> Sequence[Tensor]:
        """The hidden states [B, T, D] of the backbone's embeddings and of each layer."""
        found: Sequence[Tensor] = self.backbone(
            input_ids=ids, attention_mask=mask, output_hidden_states=True
        ).hidden_states
        return found

    def save(self, folder: Path) -> None:
        """Write the backbone in its published layout and the projection beside it."""
        folder.mkdir(parents=True, exist_ok=True)
        self.backbone.save_pretrained(folder / "backbone")  # type: ignore[operator]
        weights = {name: one.detach().contiguous() for name, one in self.projection.named_parameters()}
        save_file(weights, folder / "projection.safetensors")
        shape = {"in": self.projection.in_features, "out": self.projection.out_features}
        (folder / "encoder.json").write_text(json.dumps({"projection": shape}, indent=1))


def start_text_encoder(
    backbone: str | Path, dim: int, *, layers: Sequence[int] = (), pooled_layers: int = 3
) -> TextEncoder:
    """A student made of layers of a pre-trained model, with a zero projection.

    `backbone` is a folder or hub id of any transformers encoder; `layers` are the layers kept (all when empty). The
    last `pooled_layers` of them are pooled one by one. Raises ValueError when a layer does not exist or cannot be kept.
    """
    model = load_backbone(backbone)
    if layers:
        _keep_layers(model, layers)
    pooled = min(pooled_layers, model.config.num_hidden_layers)
    linear = nn.Linear(pooled * model.config.hidden_size, dim)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return TextEncoder(model, linear)


def load_text_encoder(folder: Path) -> TextEncoder:
    """Read what `TextEncoder.save` wrote."""
    shape = json.loads((folder / "encoder.json").read_text())["projection"]
    weights = load_file(folder / "projection.safetensors")
    linear = nn.Linear(shape["in"], shape["out"], bias="bias" in weights)
    linear.load_state_dict(weights)
    return TextEncoder(load_backbone(folder / "backbone"), linear)


def token_embeddings(backbone: str | Path) -> Tensor:
    """The embedding float32 [V, width] of every token of a pre-trained `backbone`, as it was published."""
    weight: Tensor = load_backbone(backbone).get_input_embeddings().weight.detach()
    return weight


def _keep_layers(model: nn.Module, layers: Sequence[int]) -> None:
    """Drop all but `layers` from a backbone, in place."""
    for parent, name in ((getattr(model, "encoder", None), "layer"), (model, "layers")):
        if isinstance(stack := getattr(parent, name, None), nn.ModuleList):
            break
    else:
        raise ValueError(f"{type(model).__name__}: no list of layers at encoder.layer or layers")
    if min(layers) < 0 or max(layers) >= len(stack):
        raise ValueError(f"the backbone has layers 0 to {len(stack) - 1}, asked to keep {list(layers)}")
    setattr(parent, name, nn.ModuleList(stack[number] for number in layers))
    config = model.config
    kinds = getattr(config, "layer_types", None)  # ModernBERT: local and global attention
    config.num_hidden_layers = len(layers)
    if kinds:
        config.layer_types = [kinds[number] for number in layers]
    with torch.device("meta"):
        again = type(model)(config)  # what loading will build: in some backbones layer 0 is of its own kind
    if lost := set(model.state_dict()) - set(again.state_dict()):
        raise ValueError(
            f"{type(model).__name__} cannot start with layer {layers[0]}: it would lose {sorted(lost)}"
        )


def load_backbone(source: str | Path) -> Any:
    """A transformers model; the library is untyped here.

    Its attention is the plain one: on a CPU it trains 1.4 times as fast as the fused one (docs/experiments.md), and the
    ONNX optimizer fuses no other.
    """
    ensure_torchvision()
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.from_pretrained(source)
    pooler = {"add_pooling_layer": False} if config.model_type in ("bert", "roberta", "xlm-roberta") else {}
    return AutoModel.from_pretrained(
        source, config=config, dtype=torch.float32, attn_implementation="eager", **pooler
    )
