"""What both stages of a tower's training do with it: freeze parts, give each part its rate, and run it on pictures."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from unbraid.base_encoders.image_encoder import ImageEncoder
from unbraid.distill.data.captioned_pictures import Picture
from unbraid.errors import DataError
from unbraid.progress import track
from unbraid.runtime.preprocess import ImagePreprocess

BATCH = 64  # pictures encoded at a time without training


def freeze(encoder: ImageEncoder, beginnings: Sequence[str]) -> None:
    """Keep the tower's weights whose names begin with one of `beginnings`. Raises DataError for one that none has."""
    for beginning in beginnings:
        found = [
            weight
            for name, weight in encoder.tower.named_parameters()
            if f"{name}.".startswith(f"{beginning}.")
        ]
        if not found:
            parts = dict.fromkeys(name.partition(".")[0] for name, _ in encoder.tower.named_parameters())
            raise DataError(
                f"image.frozen: {encoder.name} has no weights {beginning}: its parts are {', '.join(parts)}"
            )
        for weight in found:
            weight.requires_grad_(False)


def tower_optimizer(
    encoder: ImageEncoder, learning_rate: float, projection_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """AdamW over what is not frozen, with a rate of its own for the projection."""
    return torch.optim.AdamW(
        [
            {"params": [weight for weight in encoder.tower.parameters() if weight.requires_grad]},
            {"params": encoder.projection.parameters(), "lr": projection_rate},
        ],
        lr=learning_rate,
        weight_decay=weight_decay,
    )


def network_output(
    pictures: list[Picture],
    preprocess: ImagePreprocess,
    network: Callable[[Tensor], Tensor],
    *,
    shown: bool | None = None,
) -> Tensor:
    """What `network` gives for the pixels of `pictures`, a few at a time; `shown` as `track` takes it."""
    vectors = []
    for start in track(range(0, len(pictures), BATCH), "read pictures", unit="batches", shown=shown):
        pixels = [preprocess(Image.fromarray(one.pixels)) for one in pictures[start : start + BATCH]]
        vectors.append(network(torch.from_numpy(np.stack(pixels))))
    return torch.cat(vectors)
