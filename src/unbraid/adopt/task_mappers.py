"""The mappers of an adopted model: a matrix where a task has other vectors than the base, else the base vector itself."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unbraid.export.onnx_graphs import export_mapper, export_module, store_in_half
from unbraid.export.text_tiers import file_hash
from unbraid.mappers import LinearMapper
from unbraid.tasks import TASKS

IDENTITY = "identity.mapper.fp32.onnx"


class _Identity(nn.Module):
    def forward(self, base: Tensor) -> tuple[Tensor, Tensor]:
        return base.clone(), nn.functional.normalize(base, dim=-1)


def write_mappers(folder: Path, dim: int, matrices: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Write a mapper for each task to `folder`, from `matrices` [dim, dim] by task; their entries in bundle.json.

    Tasks without a matrix share one graph, which gives the base vector itself.
    """
    entries: dict[str, Any] = {}
    for task in dict.fromkeys([*TASKS, *matrices]):
        if task in matrices:
            path, kind = folder / f"{task}.mapper.fp32.onnx", "linear"
            export_mapper(LinearMapper(torch.from_numpy(matrices[task].astype(np.float32))), path, dim)
            store_in_half(path)
        else:
            path, kind = folder / IDENTITY, "identity"
            if not path.exists():
                axes = {"base": {0: "batch"}}
                given = (torch.ones(2, dim),)
                export_module(_Identity(), given, path, ["base"], ["mapped", "task_vector"], axes)
        entries[task] = {"id": file_hash(path), "kind": kind, "graphs": {"fp32": path.name}}
    return entries
