"""What the readers of other libraries' models return, and what a bundle is written from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image
from tokenizers import Tokenizer
from torch import nn

from unbraid.runtime.preprocess import ImagePreprocess


@dataclass(frozen=True)
class TextModel:
    """A text encoder in torch, and what its own library makes of the same texts."""

    encoder: nn.Module  # (input_ids, attention_mask int64 [B, T]) -> float32 [B, dim], unit length
    tokenizer: Tokenizer  # cuts at max_tokens
    max_tokens: int
    dim: int
    # Task of ours -> text put before every text; a task without a prompt is left out.
    prompts: Mapping[str, str]
    # Texts and a prompt (None: no prompt) -> float32 [n, dim], unit length, from the model's own library.
    original: Callable[[Sequence[str], str | None], np.ndarray]
    # What decides the vectors beside weights, tokenizer and prompts, as JSON: modules, pooling.
    about: Mapping[str, Any] = field(default_factory=dict)
    # The token ids of one text in the model's own library, where it can tell.
    original_ids: Callable[[str], Sequence[int]] | None = None


@dataclass(frozen=True)
class ImageModel:
    """An image encoder in torch, and what its own library makes of the same pictures."""

    encoder: nn.Module  # pixel_values float32 [B, 3, size, size] -> float32 [B, dim], unit length
    preprocess: ImagePreprocess
    dim: int
    original: Callable[[Sequence[Image.Image]], np.ndarray]  # float32 [n, dim], unit length
    # What decides the vectors beside weights and pixels, as JSON: layers, activation.
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class AdoptedModel:
    """A model that was read: its text encoder, its image encoder, or both in one space."""

    name: str
    licence: str
    text: TextModel | None
    image: ImageModel | None
    query: TextModel | None = None  # the text encoder of queries, where it is another one in the same space
    # Task -> matrix float32 [dim, dim] of a linear mapper that the model has; a task without one is the base vector.
    mappers: Mapping[str, np.ndarray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()  # what a user of the bundle has to know
