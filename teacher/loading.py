"""`load`: from a name to a teacher."""

from pathlib import Path

import torch

from unbraid.teacher.encoder import AdapterTeacher
from unbraid.teacher.minilm import ADAPTERS, load_minilm, minilm_folder


def load(
    name: str | Path,
    *,
    revision: str | None = None,
    device: str | None = None,
    dtype: torch.dtype | None = None,
    attention: str | None = None,
) -> AdapterTeacher:
    """Teacher by name, folder or hub id.

    "starter" is all-MiniLM-L6-v2 with the adapters trained here, "minilm" the same model without them.
    """
    if str(name) in ("starter", "minilm"):
        adapters = ADAPTERS if str(name) == "starter" else None
        return load_minilm(minilm_folder(), adapters, device=device or "cpu", dtype=dtype or torch.float32)
    return load_minilm(Path(name), None, device=device or "cpu", dtype=dtype or torch.float32)
