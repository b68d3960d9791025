"""Several LoRA adapters in one file, as jina-embeddings-v4 is published, to and from ordinary peft adapters.

Keys of the file end in `lora_A.TASK.weight`, but peft expects `lora_A.weight`: it would load such a file without an error
and leave every B matrix at zero. So the file is split by task, and every key is checked.
"""

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from unbraid.errors import TeacherError
from unbraid.teacher.model import Backbone

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
PROJECTOR = "projector.safetensors"  # of adapters trained here: the frozen layer that multi-vectors come from
PREFIX = "base_model.model."  # what peft puts before a module's name
_KEY = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.(?P<task>[^.]+)\.weight")
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_NOT_PLAIN = ("use_dora", "use_rslora", "rank_pattern", "alpha_pattern", "modules_to_save", "lora_bias")


@dataclass(frozen=True)
class Adapters:
    """Adapters by task: module name and side ("A" [rank, in] or "B" [out, rank]) -> tensor."""

    rank: int
    alpha: int
    target_modules: str | list[str]
    exclude_modules: str | None
    tensors: Mapping[str, Mapping[tuple[str, str], Tensor]]

    @property
    def scaling(self) -> float:
        """What B A is multiplied by."""
        return self.alpha / self.rank

    def config(self) -> LoraConfig:
        """peft's description of one of them."""
        return LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            target_modules=self.target_modules,
            exclude_modules=self.exclude_modules,
        )


def read_adapters(folder: Path, tasks: Collection[str]) -> Adapters:
    """The adapters in `folder`, which must be those of `tasks`.

    Raises TeacherError for a file that cannot be read, a key of another form or task, a tensor of another rank
    than the configuration's, and an adapter that is absent or has only zero B matrices, which adapt nothing.
    """
    config = read_config(folder / CONFIG)
    try:
        tensors = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise TeacherError(f"{folder / WEIGHTS}: not a readable adapter file: {error}") from error
    found: dict[str, dict[tuple[str, str], Tensor]] = {task: {} for task in tasks}
    strange = []
    for key, tensor in tensors.items():
        parts = _KEY.fullmatch(key)
        if parts and parts["task"] in found:
            found[parts["task"]][parts["module"], parts["side"]] = tensor
        else:
            strange.append(key)
    if strange:
        expected = f"{PREFIX}MODULE.lora_A|B.TASK.weight with TASK one of {', '.join(tasks)}"
        raise TeacherError(f"{folder / WEIGHTS}: unexpected {some(strange)}: expected {expected}")
    rank = config["r"]
    for task, parts_of_task in found.items():
        if not parts_of_task:
            raise TeacherError(f"{folder / WEIGHTS}: no tensors of the adapter {task!r}")
        # Before peft takes memory for the rank that the configuration claims.
        wrong = [
            f"{_name(key, task)} {tensor.dtype} {tuple(tensor.shape)}"
            for key, tensor in parts_of_task.items()
            if tensor.dtype not in _DTYPES or tensor.dim() != 2 or tensor.shape[key[1] == "B"] != rank
        ]
        if wrong:
            raise TeacherError(f"{folder / WEIGHTS}: expected floats of rank {rank}, got {some(wrong)}")
        if not any(side == "B" and bool(tensor.any()) for (_, side), tensor in parts_of_task.items()):
            raise TeacherError(f"{folder / WEIGHTS}: every B matrix of {task!r} is zero: it adapts nothing")
    return Adapters(
        rank, config["lora_alpha"], config["target_modules"], config.get("exclude_modules"), found
    )


def attach_adapters(backbone: Backbone, adapters: Adapters) -> PeftModel:
    """`backbone` with one peft adapter a task, in the backbone's own dtype.

    Raises TeacherError that names every key that is missing, unexpected or of another shape.
    """
    config = adapters.config()
    dtype = backbone.multi_vector_projector.weight.dtype
    first, *others = adapters.tensors
    try:
        # peft would keep a bfloat16 backbone's adapters in float32, and cast every input twice.
        model = PeftModel(backbone, config, adapter_name=first, autocast_adapter_dtype=False)
        for task in others:
            model.add_adapter(task, config, autocast_adapter_dtype=False)
    except (ValueError, TypeError, OverflowError, re.error) as error:
        raise TeacherError(
            f"adapters for {adapters.target_modules!r} do not fit the backbone: {error}"
        ) from error
    for task, tensors in adapters.tensors.items():
        _check_keys(
            _expected(model, task), {key: tuple(tensor.shape) for key, tensor in tensors.items()}, task
        )
        state = {
            f"{PREFIX}{module}.lora_{side}.weight": tensor.to(dtype)
            for (module, side), tensor in tensors.items()
        }
        set_peft_model_state_dict(model, state, adapter_name=task)
    model.requires_grad_(False)
    return model.eval()


def adapters_digest(folder: Path) -> str:
    """Twelve hexadecimal digits of the adapters in `folder` and their projector."""
    whole = b"".join((folder / name).read_bytes() for name in (WEIGHTS, CONFIG, PROJECTOR))
    return hashlib.sha256(whole).hexdigest()[:12]


def load_projector(backbone: Backbone, folder: Path) -> None:
    """Give `backbone` the projector that the adapters in `folder` were trained on.

    Raises TeacherError for a file that is absent, cannot be read or has another shape.
    """
    projector = backbone.multi_vector_projector
    try:
        projector.load_state_dict(load_file(folder / PROJECTOR))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise TeacherError(f"{folder / PROJECTOR}: not the projector of this backbone: {error}") from error


def save_adapters(
    model: PeftModel, folder: Path, tasks: Collection[str], *, dtype: torch.dtype, backbone: str
) -> None:
    """Write the adapters `tasks` of `model` as one file in the published layout, with configuration and projector.

    `backbone` is the name that `load` finds the frozen model by.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        f"{PREFIX}{module}.lora_{side}.{task}.weight": tensor.detach().to("cpu", dtype).contiguous()
        for task in tasks
        for (module, side), tensor in lora_tensors(model, task).items()
    }
    config = model.peft_config[next(iter(tasks))]
    target = config.target_modules
    about = {
        "peft_type": "LORA",
        "r": config.r,
        "lora_alpha": config.lora_alpha,
        # peft makes a set of a list.
        "target_modules": target if isinstance(target, str) else sorted(target),
        "exclude_modules": config.exclude_modules,
        "base_model_name_or_path": backbone,
        "task_names": list(tasks),
    }
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    projector = model.base_model.model.multi_vector_projector
    frozen = projector.get_base_layer() if isinstance(projector, LoraLayer) else projector
    save_file({key: value.to("cpu", dtype) for key, value in frozen.state_dict().items()}, folder / PROJECTOR)
    (folder / CONFIG).write_text(json.dumps(about, indent=1) + "\n")


def lora_tensors(model: PeftModel, task: str) -> dict[tuple[str, str], Tensor]:
    """The parameters of one adapter: (module name, "A" or "B") -> tensor, not copied."""
    found = {}
    for name, module in model.base_model.model.named_modules():
        if isinstance(module, LoraLayer) and task in module.lora_A:
            found[name, "A"] = module.lora_A[task].weight
            found[name, "B"] = module.lora_B[task].weight
    return found


def some(names: Collection[str], most: int = 4) -> str:
    """`names` for a message: the first few, and how many more there are."""
    shown = ", ".join(sorted(names)[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _expected(model: PeftModel, task: str) -> dict[tuple[str, str], tuple[int, ...]]:
    return {key: tuple(tensor.shape) for key, tensor in lora_tensors(model, task).items()}


def _name(key: tuple[str, str], task: str) -> str:
    return f"{key[0]}.lora_{key[1]}.{task}.weight"


def _check_keys(
    expected: Mapping[tuple[str, str], tuple[int, ...]],
    found: Mapping[tuple[str, str], tuple[int, ...]],
    task: str,
) -> None:
    wrong = {
        "missing": [_name(key, task) for key in expected.keys() - found.keys()],
        "unexpected": [_name(key, task) for key in found.keys() - expected.keys()],
        "of another shape": [
            f"{_name(key, task)} {found[key]} instead of {expected[key]}"
            for key in expected.keys() & found.keys()
            if expected[key] != found[key]
        ],
    }
    if said := [f"{what}: {some(keys)}" for what, keys in wrong.items() if keys]:
        raise TeacherError(f"adapter {task!r} does not fit the backbone; {'; '.join(said)}")


def read_config(path: Path) -> dict[str, Any]:
    """The configuration, when it is that of a plain LoRA with one rank and one scaling."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        targets, excluded = config["target_modules"], config.get("exclude_modules")
        usable = (
            all(type(config[name]) is int and config[name] > 0 for name in ("r", "lora_alpha"))
            and (isinstance(targets, str) or (isinstance(targets, list) and all(map(_is_text, targets))))
            and bool(targets)
            and (excluded is None or isinstance(excluded, str))
        )
        for pattern in (targets, excluded):
            if isinstance(pattern, str):
                re.compile(pattern)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, re.error) as error:
        raise TeacherError(f"{path}: not a readable adapter configuration: {error!r}") from error
    if not usable or (other := [name for name in _NOT_PLAIN if config.get(name)]):
        what = f", not {', '.join(other)}" if usable else ""
        raise TeacherError(f"{path}: expected a plain LoRA with r, lora_alpha and target_modules{what}")
    return dict(config)


def _is_text(value: object) -> bool:
    return isinstance(value, str)
