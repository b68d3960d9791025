"""`load`: from a name to a teacher."""

import json
import os
from pathlib import Path

import torch

from unbraid.errors import DataError
from unbraid.teacher.checkpoint import HUB_ID
from unbraid.teacher.encoder import AdapterTeacher
from unbraid.teacher.memory import choose_device
from unbraid.teacher.minilm import ADAPTERS, load_minilm, minilm_folder

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load(
    name: str | Path,
    *,
    revision: str | None = None,
    device: str | None = None,
    dtype: str | torch.dtype | None = None,
    attention: str | None = None,
    min_pixels: int | None = None,
    max_pixels: int | None = None,
) -> AdapterTeacher:
    """Teacher by name, folder or hub id.

    "starter" is all-MiniLM-L6-v2 with the adapters trained here, "minilm" the same model without them; a folder
    holds a BERT-type encoder or a checkpoint in the layout of jina-embeddings-v4; "org/name" is the hub id of
    such a checkpoint. `revision` pins a hub id. `device` is CUDA where there is one; `dtype`, also by its name,
    is float32, and bfloat16 for jina-embeddings-v4 on CUDA. `attention` and the pixel limits are for
    jina-embeddings-v4 alone.
    Raises DataError for another name or an option that does not apply, TeacherError for a teacher that was
    found and cannot be used.
    """
    dtype = _dtype(dtype)
    kind = _kind(name)
    if kind == "qwen2_5_vl":
        from unbraid.teacher.qwen import load_jina_v4

        return load_jina_v4(
            name,
            revision=revision,
            device=device,
            dtype=dtype,
            attention=attention,
            min_pixels=min_pixels,
            max_pixels=max_pixels,
        )
    options = {
        "revision": revision,
        "attention": attention,
        "min_pixels": min_pixels,
        "max_pixels": max_pixels,
    }
    if given := [option for option, value in options.items() if value is not None]:
        raise DataError(f"{', '.join(given)} does not apply to the teacher {str(name)!r}: leave it out")
    folder = Path(name) if kind == "bert" else minilm_folder()
    adapters = ADAPTERS if kind == "starter" else None
    return load_minilm(folder, adapters, device=choose_device(device), dtype=dtype or torch.float32)


def _dtype(dtype: str | torch.dtype | None) -> torch.dtype | None:
    """`dtype` itself, or the one of that name."""
    if dtype is None or dtype in DTYPES.values():
        return dtype  # type: ignore[return-value]
    if dtype not in DTYPES:
        raise DataError(f"dtype is {dtype!r}: expected one of {', '.join(DTYPES)}")
    return DTYPES[str(dtype)]


def _kind(name: str | Path) -> str:
    """What `name` is: "starter", "minilm", "bert" or "qwen2_5_vl". Raises DataError for anything else."""
    if str(name) in ("starter", "minilm"):
        return str(name)
    expected = "starter, minilm, a folder with a BERT or jina-embeddings-v4 checkpoint, or a hub id org/name"
    folder = Path(name)
    if os.path.isdir(folder):  # Path.is_dir raises for a name that is too long
        path = folder / "config.json"
        try:
            kind = json.loads(path.read_text(encoding="utf-8"))["model_type"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}: says no model_type ({error!r}): expected {expected}") from error
        if kind not in ("bert", "qwen2_5_vl"):
            raise DataError(f"{path}: model_type is {kind!r}: expected bert or qwen2_5_vl")
        return str(kind)
    if HUB_ID.fullmatch(str(name)):
        return "qwen2_5_vl"
    raise DataError(f"unknown teacher {str(name)!r}: expected {expected}")
