"""The backbone that adapters are attached to: a stock transformers model and the projector of multi-vectors.

The attribute names `model` and `multi_vector_projector` are those of the published adapter file, so that its keys
are the keys that peft gives to the layers here.
"""

from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig
from torch import Tensor, nn
from transformers import PreTrainedModel

from unbraid.errors import DataError
from unbraid.teacher.inputs import Batch

PROJECTED = 128  # dimensions of a multi-vector's tokens


@dataclass(frozen=True)
class Architecture:
    """Where adapters are attached in one kind of backbone."""

    target_modules: str  # regular expression over module names
    exclude_modules: str | None
    causal: bool


_PROJECTOR = r"multi_vector_projector"
# By config.model_type. Qwen's expression is the published one, which also matches the vision tower's layers: those
# are excluded by name, as published.
ARCHITECTURES = {
    "bert": Architecture(rf"model\..*\.(query|key|value|dense)|{_PROJECTOR}", None, causal=False),
    "qwen2_5_vl": Architecture(
        r"(.*(model).*(down_proj|gate_proj|up_proj|k_proj|q_proj|v_proj|o_proj).*$|"
        r".*(single_vector_projector|multi_vector_projector).*$)",
        ".*visual.*",
        causal=True,
    ),
}


@dataclass(frozen=True)
class TokenStates:
    """The last layer's output float [B, T, H], and its projection [B, T, 128] where it was asked for."""

    hidden: Tensor
    projected: Tensor | None


class Backbone(nn.Module):
    """A transformers model whose language-model head is left out, and the multi-vector projector."""

    def __init__(self, model: PreTrainedModel, projector: nn.Linear) -> None:
        """Take both; the projector's input is as wide as the model's hidden states."""
        super().__init__()
        self.model = model
        self.multi_vector_projector = projector

    @property
    def dtype(self) -> torch.dtype:
        """Of the frozen weights."""
        return self.model.dtype

    def forward(self, batch: Batch, project: bool) -> TokenStates:
        """Token states of a batch. Positions of pictures are computed here; the default ones are wrong."""
        inputs: dict[str, Any] = {"input_ids": batch.ids, "attention_mask": batch.mask.long()}
        if batch.patches is not None:
            # Without mm_token_type_ids transformers falls back to one-dimensional positions, silently.
            kinds = (batch.ids == self.model.config.image_token_id).int()
            inputs["position_ids"], _ = self.model.get_rope_index(
                input_ids=batch.ids,
                mm_token_type_ids=kinds,
                image_grid_thw=batch.grids,
                attention_mask=batch.mask.long(),
            )
            inputs["pixel_values"] = batch.patches.to(self.model.dtype)
            inputs["image_grid_thw"] = batch.grids
        kind = ARCHITECTURES.get(self.model.config.model_type)  # None: an encoder that gets no adapters
        if kind is not None and kind.causal:
            inputs["use_cache"] = False
        hidden = self.model(**inputs).last_hidden_state
        return TokenStates(hidden, self.multi_vector_projector(hidden) if project else None)


def new_projector(hidden: int) -> nn.Linear:
    """A random projector, the same every time. As in the paper only the adapters on it are trained."""
    projector = nn.Linear(hidden, PROJECTED)
    generator = torch.Generator().manual_seed(0)
    nn.init.normal_(projector.weight, std=hidden**-0.5, generator=generator)
    nn.init.zeros_(projector.bias)
    return projector


def architecture_of(model: PreTrainedModel) -> Architecture:
    """Where adapters are attached in `model`. Raises DataError for a kind of backbone that is not known."""
    kind = model.config.model_type
    if kind not in ARCHITECTURES:
        raise DataError(f"a backbone of type {kind!r} is not known: expected {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[kind]


def lora_config(model: PreTrainedModel, *, rank: int, alpha: int, dropout: float = 0.0) -> LoraConfig:
    """peft's description of an adapter on `model`: every linear layer of its text side, and the projector."""
    place = architecture_of(model)
    return LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=place.target_modules,
        exclude_modules=place.exclude_modules,
        task_type=None,
    )
