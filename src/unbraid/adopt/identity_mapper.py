"""The mapper of a task for which a model has no other vectors: the base vector itself."""

from pathlib import Path

import torch
from torch import Tensor, nn

from unbraid.export.onnx_graphs import export_module


class _Identity(nn.Module):
    def forward(self, base: Tensor) -> tuple[Tensor, Tensor]:
        return base.clone(), nn.functional.normalize(base, dim=-1)


def write_identity(path: Path, dim: int) -> None:
    """Write base float32 [B, dim] -> mapped, which is base, and task_vector, which is base at unit length."""
    axes = {"base": {0: "batch"}}
    export_module(_Identity(), (torch.ones(2, dim),), path, ["base"], ["mapped", "task_vector"], axes)
