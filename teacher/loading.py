"""`load`: from a name to a teacher."""

import json
import os
from pathlib import Path

import torch

from unbraid.errors import DataError
from unbraid.io.hub import HUB_ID
from unbraid.teacher.adapter_file import CONFIG, read_config
from unbraid.teacher.checkpoint import checkpoint_folder, stored_tensors
from unbraid.teacher.encoder import AdapterTeacher
from unbraid.teacher.inputs import Reader, TextReader
from unbraid.teacher.members.load_member import load_member
from unbraid.teacher.members.member_spec import MEMBERS
from unbraid.teacher.members.members_teacher import SPACE, MembersTeacher, load_members
from unbraid.teacher.memory import choose_device
from unbraid.teacher.minilm import ADAPTERS, load_backbone, load_minilm, minilm_folder
from unbraid.teacher.model import Backbone, new_projector
from unbraid.teacher.routes import JINA_V4, STARTER, Routes

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
) -> AdapterTeacher | MembersTeacher:
    """Teacher by name, folder or hub id.

    "starter" is all-MiniLM-L6-v2 with the shipped adapters. "e5", "mpnet" and "minilm" are multilingual-e5-small,
    all-mpnet-base-v2 and all-MiniLM-L6-v2 as published, from installed packages or the hub. A folder holds a BERT-type
    encoder, a checkpoint in the layout of jina-embeddings-v4, adapters of `unbraid train teacher fit`, or the joined
    teacher of `unbraid train join`. "org/name" is the hub id of a jina-embeddings-v4 checkpoint, and `revision` pins
    it. By default `device` is CUDA if there is one; `dtype` (also by its name) is float32, but bfloat16 for
    jina-embeddings-v4 on CUDA, and that of the labels for a joined teacher. `attention` and the pixel limits are for
    jina-embeddings-v4 alone.
    Raises DataError for another name or an option that does not apply, TeacherError for a teacher that was found but
    cannot be used.
    """
    dtype = read_dtype(dtype)
    base, adapters = _base_and_adapters(name)
    kind = _kind(base)
    if kind == "qwen2_5_vl":
        from unbraid.teacher.qwen import load_jina_v4

        return load_jina_v4(
            base,
            adapters=adapters,
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
    place = choose_device(device)
    if kind == "joined":
        return load_members(Path(name), device=place, dtype=dtype)
    if kind == "member" and adapters is None:
        return load_member(MEMBERS[str(name)], device=place, dtype=dtype or torch.float32)
    folder = Path(base) if kind == "bert" else minilm_folder()
    return load_minilm(folder, adapters, device=place, dtype=dtype or torch.float32)


def load_trainable(
    name: str | Path, *, device: str | None, dtype: str, max_tokens: int
) -> tuple[Backbone, Reader, Routes]:
    """A frozen backbone without adapters, its reader cutting texts at `max_tokens`, and the routes to train.

    `name` is "minilm", or a folder or hub id of a BERT-type encoder or a Qwen2.5-VL; the latter's own projector is
    used where the checkpoint has one. Raises as `load` does.
    """
    kind, place = _kind(name), choose_device(device)
    if kind == "joined" or (kind == "member" and str(name) != "minilm"):
        raise DataError(
            f"adapters cannot be trained on the teacher {str(name)!r}: expected minilm or a folder"
        )
    if kind in ("member", "bert"):
        folder = minilm_folder() if kind == "member" else Path(name)
        return load_backbone(folder).to(place), TextReader(folder, max_tokens), STARTER
    from unbraid.teacher import qwen

    qwen.check_transformers()
    qwen.show_licence()
    folder, _ = checkpoint_folder(
        name, qwen.PUBLISHED.revision if str(name) == qwen.PUBLISHED.hub_id else None
    )
    config = qwen.read_config(folder)
    tensors = stored_tensors(folder)
    # The frozen weights may be bfloat16; the adapters that are trained stay float32 either way.
    backbone = qwen.load_backbone(
        folder,
        tensors,
        device=place,
        dtype=DTYPES[dtype],
        attention="sdpa",
        projector=None if qwen.PROJECTOR[0] in tensors else new_projector(config.text_config.hidden_size),
    )
    reader = qwen.QwenReader(folder, config, qwen.MIN_PIXELS, qwen.MAX_PIXELS, max_tokens, cut=True)
    return backbone, reader, JINA_V4


def read_dtype(dtype: str | torch.dtype | None) -> torch.dtype | None:
    """`dtype` itself, or the one of that name."""
    if dtype is None or dtype in DTYPES.values():
        return dtype  # type: ignore[return-value]
    if dtype not in DTYPES:
        raise DataError(f"dtype is {dtype!r}: expected one of {', '.join(DTYPES)}")
    return DTYPES[str(dtype)]


def _base_and_adapters(name: str | Path) -> tuple[str | Path, Path | None]:
    """The backbone that `name` stands for, and the folder of adapters trained here where it is one of those."""
    folder = ADAPTERS if str(name) == "starter" else Path(name)
    if not os.path.isfile(folder / CONFIG):
        return name, None
    return str(read_config(folder / CONFIG).get("base_model_name_or_path")), folder


def _kind(name: str | Path) -> str:
    """The kind of a backbone: "member", "joined", "bert" or "qwen2_5_vl". Raises DataError for anything else."""
    if str(name) in MEMBERS:
        return "member"
    expected = (
        f"starter, {', '.join(MEMBERS)}, a folder with a BERT or jina-embeddings-v4 checkpoint, with adapters trained"
        " here or with a joined teacher, or a hub id org/name"
    )
    folder = Path(name)
    if os.path.isdir(folder):  # Path.is_dir raises for a name that is too long
        if (folder / SPACE).is_file():
            return "joined"
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
