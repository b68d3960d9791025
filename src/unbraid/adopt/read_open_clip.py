"""A folder of open_clip as its hub lays it out: both towers, their tokenizer and their pixels."""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open

from unbraid.adopt.check_settings import check_auto_map, check_tokenizer_kwargs
from unbraid.adopt.clip_tokenizer import open_clip_tokenizer
from unbraid.adopt.clip_towers import OpenClipText, Pictures, padding_counts
from unbraid.adopt.model_card import read_licence
from unbraid.adopt.model_files import LARGEST, OPEN_CLIP, OPEN_CLIP_WEIGHTS, read_object
from unbraid.adopt.models import AdoptedModel, ImageModel, TextModel
from unbraid.adopt.plain_attention import with_plain_attention
from unbraid.errors import AdoptError
from unbraid.runtime.preprocess import ImagePreprocess, Interpolation, Method
from unbraid.training.torchvision_shim import ensure_torchvision

CONFIG, WEIGHTS = OPEN_CLIP, OPEN_CLIP_WEIGHTS
# The key of a config -> what it stands for, which has no single vector of a text or is another library's.
REFUSED = {
    "multimodal_cfg": "a text decoder (CoCa)",
    "hf_model_name": "a text tower of transformers",
    "embed_cls": "a class token behind each text (CoCa)",
}
METHODS: Mapping[str, Method] = {"shortest": "crop", "longest": "pad", "squash": "squash"}
BATCH = 16


def read_open_clip(folder: Path) -> AdoptedModel:
    """The model in `folder`. Raises AdoptError, which names the part, for one that cannot become a bundle."""
    about = _check(folder)
    # Unless it is told, transformers asks whether code in the folder may run.
    no_code = {"trust_remote_code": False} if about["text_cfg"].get("hf_tokenizer_name") else {}
    ensure_torchvision()
    import open_clip

    quiet = logging.getLogger().level
    logging.getLogger().setLevel(logging.ERROR)  # open_clip logs to the root
    try:
        model: Any = open_clip.create_model(f"local-dir:{folder}", require_pretrained=True).eval()
        reads: Any = open_clip.get_tokenizer(f"local-dir:{folder}", **no_code)
    except Exception as error:  # KeyError, RuntimeError, TypeError and others, of what the config says
        raise AdoptError(f"{folder}: open_clip cannot load it: {str(error)[:300]}") from error
    finally:
        logging.getLogger().setLevel(quiet)
    tokenizer, pad = open_clip_tokenizer(reads, folder)
    own = isinstance(reads, open_clip.SimpleTokenizer)
    encoder = OpenClipText(model, pad, whole=padding_counts(model, own_tokenizer=own)).eval()
    try:
        preprocess = _preprocess(folder, model.visual.preprocess_cfg)
        transform = open_clip.transform.image_transform_v2(
            open_clip.transform.PreprocessCfg(**model.visual.preprocess_cfg), is_train=False
        )
    except (ValueError, KeyError, TypeError, OverflowError, AssertionError) as error:
        raise AdoptError(
            f"{folder / CONFIG}: preprocess_cfg gives no pixels of a known kind: {error!r}"
        ) from error

    def texts(some: Sequence[str], prompt: str | None) -> np.ndarray:
        batches = (some[start : start + BATCH] for start in range(0, len(some), BATCH))
        return _joined(
            model.encode_text(reads([(prompt or "") + one for one in batch]), normalize=True)
            for batch in batches
        )

    def pictures(some: Sequence[Image.Image]) -> np.ndarray:
        batches = (some[start : start + BATCH] for start in range(0, len(some), BATCH))
        return _joined(
            model.encode_image(torch.stack([transform(one) for one in batch]), normalize=True)
            for batch in batches
        )

    with torch.inference_mode():
        dim = int(
            encoder(torch.ones((1, 4), dtype=torch.long), torch.ones((1, 4), dtype=torch.long)).shape[1]
        )

    def ids(one: str) -> Sequence[int]:
        row: list[int] = reads([one])[0].tolist()
        while row and row[-1] == pad:
            row.pop()
        return row

    text = TextModel(
        encoder, tokenizer, int(reads.context_length), dim, {}, texts, about, ids if own else None
    )
    image = ImageModel(Pictures(with_plain_attention(model.visual)).eval(), preprocess, dim, pictures, about)
    return AdoptedModel(folder.name, read_licence(folder), text, image)


@torch.inference_mode()
def _joined(batches: Any) -> np.ndarray:
    found: np.ndarray = torch.cat(list(batches)).float().numpy()
    return found


def _check(folder: Path) -> dict[str, Any]:
    """The config of both towers. Refuses what it or the folder tells before anything is loaded."""
    config = read_object(folder / CONFIG)
    try:
        towers = config["model_cfg"], config["model_cfg"]["vision_cfg"], config["model_cfg"]["text_cfg"]
        parts = {key for part in towers for key, value in part.items() if value}
    except (KeyError, TypeError, AttributeError) as error:
        raise AdoptError(f"{folder / CONFIG}: not a config of open_clip: {error!r}") from error
    if found := sorted(parts & set(REFUSED)):
        raise AdoptError(
            f"{folder / CONFIG}: has {REFUSED[found[0]]} ({found[0]}), which `adopt` does not take"
        )
    about: dict[str, Any] = config["model_cfg"]
    check_tokenizer_kwargs(folder / CONFIG, about["text_cfg"].get("tokenizer_kwargs"))
    if about["text_cfg"].get("hf_tokenizer_name"):
        check_auto_map(folder, "config.json", "tokenizer_config.json")
    if not (folder / WEIGHTS).is_file():
        raise AdoptError(
            f"{folder / WEIGHTS}: not found: open_clip's safetensors are needed, pickled weights are not read"
        )
    for tower, numbers in _sizes(folder / WEIGHTS).items():
        if 4 * numbers > LARGEST:
            raise AdoptError(
                f"{folder}: its {tower} tower has {numbers / 1e6:,.0f} million parameters, and a graph holds at most "
                f"{LARGEST // 4_000_000:,}: choose a smaller model"
            )
    return about


def _sizes(path: Path) -> dict[str, int]:
    """Numbers in each tower, by the header of its weights. Raises AdoptError for a file without one."""
    found = {"image": 0, "text": 0}
    try:
        with safe_open(path, "np") as file:
            names = file.keys()
            for name in names:
                tower = "image" if name.startswith("visual.") else "text"
                found[tower] += math.prod(file.get_slice(name).get_shape())
    except (SafetensorError, OSError) as error:
        raise AdoptError(f"{path}: no weights can be read: {error}") from error
    return found


def _preprocess(folder: Path, config: Mapping[str, Any]) -> ImagePreprocess:
    """The pixels that a tower takes. Raises AdoptError for pictures that are not square."""
    size = config["size"]
    sides = set(size) if isinstance(size, (tuple, list)) else {size}
    if len(sides) != 1:
        raise AdoptError(f"{folder / CONFIG}: pictures of {size} are not square")
    method = METHODS[config["resize_mode"]]
    # open_clip takes "random", which training may have, for bicubic.
    interpolation: Interpolation = "bilinear" if config["interpolation"] == "bilinear" else "bicubic"
    return ImagePreprocess(
        int(sides.pop()),
        config["mean"],
        config["std"],
        method=method,
        interpolation=interpolation,
        fill=int(config["fill_color"]),
    )
