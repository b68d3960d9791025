"""Image base encoder: any timm or open_clip visual tower, a projection, unit length, the mean removed."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from unbraid.base_encoders.packaged_tower import load_in_order, packaged_weights
from unbraid.base_encoders.tower_name import TowerName, read_tower_name
from unbraid.runtime.preprocess import ImagePreprocess
from unbraid.training.torchvision_shim import ensure_torchvision


class ImageEncoder(nn.Module):
    """Preprocessed pixels to base vectors."""

    mean: Tensor

    def __init__(
        self, tower: nn.Module, name: str, projection: nn.Linear, preprocess: ImagePreprocess
    ) -> None:
        """Join a visual `tower` (pixels -> [B, width]), its `name`, and a `projection` to the base dim."""
        super().__init__()
        self.tower = tower
        self.name = name
        self.projection = projection
        self.preprocess = preprocess
        # The mean vector of pictures is subtracted before the last normalization. Otherwise all pictures lie in a
        # cone of their own (the modality gap; GR-CLIP, arXiv 2507.19054).
        self.register_buffer("mean", torch.zeros(projection.out_features))

    def raw(self, pixels: Tensor) -> Tensor:
        """Unit vectors [B, dim] of pixels float32 [B, 3, size, size] before the mean is removed."""
        return nn.functional.normalize(self.projection(self.tower(pixels)), dim=-1)

    def forward(self, pixels: Tensor) -> Tensor:
        """Base vectors [B, dim], unit length, of pixels float32 [B, 3, size, size] from `preprocess`."""
        return nn.functional.normalize(self.raw(pixels) - self.mean, dim=-1)

    def save(self, folder: Path) -> None:
        """Write weights and description into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file(
            {name: tensor.contiguous() for name, tensor in self.state_dict().items()},
            folder / "image.safetensors",
        )
        description = {
            "tower": self.name,
            "dim": self.projection.out_features,
            "size": self.preprocess.size,
            "mean": self.preprocess.mean,
            "std": self.preprocess.std,
        }
        (folder / "encoder.json").write_text(json.dumps(description, indent=1))


def start_image_encoder(
    name: str, *, dim: int, preprocess: ImagePreprocess, published: bool = False
) -> ImageEncoder:
    """An encoder around the tower `name`: "timm:MODEL[.TAG]" or "open_clip:MODEL[/TAG]".

    With `published` it has the weights of the name's tag, from an installed package (packaged_tower.py) or from a hub,
    else random ones. Raises ValueError for a name of neither kind.
    """
    tower = _tower(read_tower_name(name), preprocess.size, published=published).eval()
    with torch.inference_mode():
        width = tower(torch.zeros(1, 3, preprocess.size, preprocess.size)).shape[1]
    return ImageEncoder(tower, name, nn.Linear(width, dim), preprocess)


def tower_preprocess(name: str, size: int) -> ImagePreprocess:
    """The preprocessing of the tower `name` for `size` pixels: the mean and deviation its weights were trained with.

    A tower without published weights takes every channel from -2 to 2.
    """
    tower = read_tower_name(name)
    mean, std = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
    ensure_torchvision()
    if tower.published and tower.library == "timm":
        import timm

        about = timm.get_pretrained_cfg(f"{tower.model}.{tower.tag}")
        mean, std = about.mean, about.std
    elif tower.published:
        import open_clip

        mean, std = (open_clip.get_pretrained_cfg(tower.model, tower.tag)[key] for key in ("mean", "std"))
    return ImagePreprocess(size, mean, std)


def load_image_encoder(folder: Path) -> ImageEncoder:
    """Read what `ImageEncoder.save` wrote."""
    about = json.loads((folder / "encoder.json").read_text())
    preprocess = ImagePreprocess(about["size"], tuple(about["mean"]), tuple(about["std"]))
    encoder = start_image_encoder(about["tower"], dim=about["dim"], preprocess=preprocess)
    encoder.load_state_dict(load_file(folder / "image.safetensors"))
    return encoder.eval()


def _tower(name: TowerName, size: int, *, published: bool) -> nn.Module:
    """The visual tower: pixels [B, 3, size, size] -> pooled features [B, width]."""
    ensure_torchvision()
    if name.library == "timm":
        import timm

        model = f"{name.model}.{name.tag}" if name.published else name.model
        packaged = packaged_weights(model) if published else None
        tower: nn.Module = timm.create_model(model, pretrained=published and not packaged, num_classes=0)
        if packaged:
            load_in_order(tower, packaged)
        if hasattr(tower, "set_input_size"):  # transformers; convolutions take any size as they are
            tower.set_input_size(img_size=size)
        return tower
    import open_clip

    clip = open_clip.create_model(
        name.model, pretrained=name.tag if published else None, force_image_size=size
    )
    visual: nn.Module = clip.visual
    return visual
