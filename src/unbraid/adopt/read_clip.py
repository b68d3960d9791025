"""A folder of transformers with a CLIPModel or a SiglipModel: both towers, their tokenizer and their pixels."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer
from torch import nn

from unbraid.adopt.check_settings import check_auto_map
from unbraid.adopt.clip_tokenizer import fast_tokenizer, siglip_tokenizer
from unbraid.adopt.clip_towers import ClipText, Pictures, SiglipText
from unbraid.adopt.model_card import read_licence
from unbraid.adopt.model_files import check_weights_name, read_object
from unbraid.adopt.models import AdoptedModel, ImageModel, TextModel
from unbraid.errors import AdoptError
from unbraid.runtime.preprocess import ImagePreprocess, Interpolation
from unbraid.teacher.silence_transformers import silence_transformers
from unbraid.training.torchvision_shim import ensure_torchvision

# By Pillow's numbers.
FILTERS: Mapping[int, Interpolation] = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
PIXELS = "preprocessor_config.json"
BATCH = 16


def read_clip(folder: Path) -> AdoptedModel:
    """The model in `folder`. Raises AdoptError, which names the part, for one that cannot become a bundle."""
    config = read_object(folder / "config.json")
    kind = config["model_type"]  # clip or siglip
    check_auto_map(folder, "config.json", "tokenizer_config.json", PIXELS, "processor_config.json")
    check_weights_name(folder / "config.json", config)
    if (
        not (folder / "model.safetensors").is_file()
        and not (folder / "model.safetensors.index.json").is_file()
    ):
        raise AdoptError(f"{folder / 'model.safetensors'}: not found: pickled weights are not read")
    preprocess = _preprocess(folder)
    ensure_torchvision()
    import transformers

    try:
        with silence_transformers():
            model: Any = transformers.AutoModel.from_pretrained(
                folder,
                attn_implementation="eager",
                dtype=torch.float32,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
            ).eval()
            reads: Any = transformers.AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
            prepares: Any = transformers.AutoImageProcessor.from_pretrained(
                folder, local_files_only=True, use_fast=False, trust_remote_code=False
            )
    except Exception as error:  # OSError, ValueError, ImportError and others, of what the files say
        raise AdoptError(f"{folder}: transformers cannot load it: {str(error)[:300]}") from error
    if preprocess.size != (takes := model.config.vision_config.image_size):
        raise AdoptError(
            f"{folder / PIXELS}: makes pictures of {preprocess.size} pixels, and the vision tower takes {takes} "
            "(config.json, vision_config.image_size): correct crop_size or size"
        )
    length = int(model.config.text_config.max_position_embeddings)
    encoder, tokenizer, given = (
        _siglip(model, reads, length, folder) if kind == "siglip" else _clip(model, reads, length, folder)
    )

    def texts(some: Sequence[str], prompt: str | None) -> np.ndarray:
        return _unit(
            some, lambda batch: model.get_text_features(**given([(prompt or "") + one for one in batch]))
        )

    def pictures(some: Sequence[Image.Image]) -> np.ndarray:
        return _unit(some, lambda batch: model.get_image_features(**prepares(batch, return_tensors="pt")))

    projection = model.visual_projection if kind == "clip" else None
    with torch.inference_mode():
        dim = int(
            encoder(torch.ones((1, 4), dtype=torch.long), torch.ones((1, 4), dtype=torch.long)).shape[1]
        )
    towers = json.loads(model.config.to_json_string(use_diff=False))

    def ids(one: str) -> Sequence[int]:
        found: list[int] = reads([one], truncation=True, max_length=length)["input_ids"][0]
        return found

    about = {"pad": reads.pad_token_id, **towers["text_config"]}
    text = TextModel(encoder.eval(), tokenizer, length, dim, {}, texts, about, ids)
    image = ImageModel(
        Pictures(model.vision_model, projection).eval(), preprocess, dim, pictures, towers["vision_config"]
    )
    return AdoptedModel(folder.name, read_licence(folder), text, image)


Given = Callable[[Sequence[str]], Mapping[str, Any]]  # texts -> what the model takes


def _clip(model: Any, reads: Any, length: int, folder: Path) -> tuple[nn.Module, Tokenizer, Given]:
    def given(texts: Sequence[str]) -> Mapping[str, Any]:
        found: Mapping[str, Any] = reads(
            list(texts), padding=True, truncation=True, max_length=length, return_tensors="pt"
        )
        return found

    return ClipText(model), fast_tokenizer(reads, length, folder), given


def _siglip(model: Any, reads: Any, length: int, folder: Path) -> tuple[nn.Module, Tokenizer, Given]:
    """SigLIP reads 64 tokens of every text and no mask: it was trained so."""

    def given(texts: Sequence[str]) -> Mapping[str, Any]:
        found = reads(
            list(texts), padding="max_length", truncation=True, max_length=length, return_tensors="pt"
        )
        return {"input_ids": found["input_ids"]}

    from transformers import SiglipTokenizer

    if isinstance(reads, SiglipTokenizer):
        tokenizer = siglip_tokenizer(reads, length)
    else:
        tokenizer = fast_tokenizer(reads, length, folder)
    return SiglipText(model, int(reads.pad_token_id), length), tokenizer, given


@torch.inference_mode()
def _unit(some: Sequence[Any], encode: Callable[[list[Any]], Any]) -> np.ndarray:
    batches = [encode(list(some[start : start + BATCH])) for start in range(0, len(some), BATCH)]
    found = torch.cat([one if isinstance(one, torch.Tensor) else one.pooler_output for one in batches])
    vectors: np.ndarray = nn.functional.normalize(found, dim=-1).numpy()
    return vectors


def _preprocess(folder: Path) -> ImagePreprocess:
    """The pixels that a tower takes, as preprocessor_config.json says. Raises AdoptError for other steps."""
    path = folder / PIXELS
    try:
        return _steps(read_object(path))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise AdoptError(f"{path}: not the steps of a CLIP or SigLIP model: {error!r}") from error


def _steps(about: Mapping[str, Any]) -> ImagePreprocess:
    if not about.get("do_resize", True) or not about.get("do_rescale", True) or about.get("do_pad"):
        raise ValueError("pictures have to be resized and rescaled, and not padded")
    if abs(about.get("rescale_factor", 1 / 255) - 1 / 255) > 1e-6:
        raise ValueError(f"rescale_factor is {about['rescale_factor']}, expected 1/255")
    normalized = about.get("do_normalize", True)
    siglip = "siglip" in str(about.get("image_processor_type", "")).lower()
    mean = about["image_mean"] if normalized else (0, 0, 0)
    std = about["image_std"] if normalized else (1, 1, 1)
    interpolation = FILTERS[int(about.get("resample", 3))]
    size = about["size"] if isinstance(about["size"], Mapping) else {"shortest_edge": about["size"]}
    if about.get("do_center_crop", not siglip):
        crop = about["crop_size"]
        side = crop if isinstance(crop, int) else _square(crop)
        return ImagePreprocess(
            side,
            mean,
            std,
            method="crop",
            interpolation=interpolation,
            resize=int(size["shortest_edge"]),
            offset="floor",
        )
    return ImagePreprocess(_square(size), mean, std, method="squash", interpolation=interpolation)


def _square(size: Mapping[str, Any]) -> int:
    if size["height"] != size["width"]:
        raise ValueError(f"pictures of {dict(size)} are not square")
    return int(size["height"])
