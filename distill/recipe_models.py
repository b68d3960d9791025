"""Resolve the models that a recipe names: the folder of a teacher or backbone, and the dtype on this machine."""

import os
from pathlib import Path

import torch

from unbraid.distill.recipe import Recipe
from unbraid.errors import DataError
from unbraid.runtime.cpu import instruction_sets
from unbraid.teacher.checkpoint import checkpoint_folder
from unbraid.teacher.members.load_member import member_weights
from unbraid.teacher.members.member_spec import MEMBERS
from unbraid.teacher.memory import choose_device
from unbraid.teacher.minilm import minilm_folder

BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")  # instruction sets that multiply bfloat16: x86, x86, ARM


def below_data(name: str, data: Path) -> str:
    """The folder below `data` that a teacher's or backbone's `name` means if there is one, else the name itself.

    Raises DataError for an empty name.
    """
    if not name:
        raise DataError(
            "the recipe names no teacher: add teacher = ..., or name one with --teacher (only `unbraid train tower` and "
            "`unbraid train distill` with [members] work without)"
        )
    return str(data / name) if os.path.isdir(data / name) else name


def backbone_folder(name: str, data: Path) -> Path:
    """The folder of the pre-trained encoder `name`: a member's name, a folder (here or below `data`) or a hub id.

    Raises DataError or TeacherError when there is none.
    """
    if name == "minilm":
        return minilm_folder()
    if name in MEMBERS:
        return member_weights(MEMBERS[name])[0]
    return checkpoint_folder(below_data(name, data), None)[0]


def torch_dtype(recipe: Recipe, device: str | None = "cpu") -> torch.dtype:
    """The torch dtype of the recipe's `dtype` on `device`; None is CUDA if there is one.

    "auto" is bfloat16 on CUDA and on CPUs that multiply it. Other CPUs emulate bfloat16, many times slower.
    """
    if recipe.dtype != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[recipe.dtype]
    fast = choose_device(device).type == "cuda" or not instruction_sets().isdisjoint(BFLOAT16)
    return torch.bfloat16 if fast else torch.float32
