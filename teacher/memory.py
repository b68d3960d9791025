"""Where a teacher runs, and whether it fits there: checked before any weight is read."""

from collections.abc import Mapping

import torch

from unbraid.errors import DataError, TeacherError
from unbraid.teacher.checkpoint import dtype_name

SMALLER = {torch.float32: torch.bfloat16}  # float16 overflows in Qwen's activations


def choose_device(device: str | torch.device | None) -> torch.device:
    """`device`, or CUDA where there is one and the CPU elsewhere for None.

    Raises TeacherError when CUDA is asked for and absent, DataError for a name that is no device.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise DataError(f"device is {device!r}: expected 'cpu', 'cuda' or 'cuda:N'") from error
    if chosen.type not in ("cpu", "cuda"):
        raise DataError(f"device is {device!r}, which was never tried: expected 'cpu', 'cuda' or 'cuda:N'")
    if chosen.type == "cuda" and not torch.cuda.is_available():
        built = "this torch is built without CUDA" if torch.version.cuda is None else "torch sees no CUDA GPU"
        raise TeacherError(f"device is {device!r}, but {built}: use device='cpu'")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise TeacherError(f"device is {device!r}, but torch sees {torch.cuda.device_count()} CUDA GPUs")
    return chosen


def free_bytes(device: torch.device) -> int:
    """Memory that can still be taken on `device`."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    import psutil  # type: ignore[import-untyped]

    return int(psutil.virtual_memory().available)


def needed_bytes(weights: int, workspace: int) -> dict[torch.dtype, int]:
    """Bytes of so many weights and numbers of workspace, in each dtype a teacher may have."""
    return {
        dtype: (weights + workspace) * dtype.itemsize
        for dtype in (torch.float32, torch.bfloat16, torch.float16)
    }


def check_fits(needed: Mapping[torch.dtype, int], dtype: torch.dtype, device: torch.device) -> None:
    """Raise TeacherError, with both numbers and a smaller dtype that would do, when `dtype` needs more than is free."""
    free = free_bytes(device)
    if needed[dtype] <= free:
        return
    smaller = SMALLER.get(dtype)
    if smaller is not None and needed[smaller] <= free:
        advice = f"dtype={dtype_name(smaller)!r} needs {_gib(needed[smaller])} and fits"
    else:
        advice = f"give it a machine with more memory than {_gib(min(needed.values()))}"
    raise TeacherError(
        f"the teacher needs {_gib(needed[dtype])} in {dtype_name(dtype)}, {device.type} has {_gib(free)} free:"
        f" {advice}"
    )


def _gib(count: int) -> str:
    return f"{count / 2**30:.2f} GiB"
