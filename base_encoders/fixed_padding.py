"""Towers of TensorFlow's make pad by the size of what they see: here for one size, so that the graph only holds numbers.

A graph that works its padding out for each picture runs at two thirds of the speed (docs/experiments.md).
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from unbraid.training.torchvision_shim import ensure_torchvision


def with_fixed_padding(encoder: nn.Module, size: int) -> nn.Module:
    """A copy of `encoder`, the same for pictures of `size` pixels, whose convolutions have their padding before them."""
    ensure_torchvision()
    from timm.layers import Conv2dSame

    fixed = copy.deepcopy(encoder).eval()
    found = {name: module for name, module in fixed.named_modules() if isinstance(module, Conv2dSame)}
    seen: dict[str, tuple[int, ...]] = {}

    def record(name: str) -> Callable[[nn.Module, tuple[Tensor]], None]:
        return lambda _, inputs: seen.update({name: tuple(inputs[0].shape[-2:])})

    handles = [module.register_forward_pre_hook(record(name)) for name, module in found.items()]
    if found:
        with torch.inference_mode():
            fixed(torch.zeros(1, 3, size, size))
    for handle in handles:
        handle.remove()
    for name, module in found.items():
        parent, _, last = name.rpartition(".")
        setattr(fixed.get_submodule(parent), last, _padded(module, seen[name]))
    return fixed


def _padded(convolution: nn.Conv2d, sides: tuple[int, ...]) -> nn.Sequential:
    """Zeros around an input of `sides` (height, width), as many as keep one output a stride, and the convolution."""
    pads: list[int] = []
    for side, kernel, stride, dilation in zip(
        sides, convolution.kernel_size, convolution.stride, convolution.dilation, strict=True
    ):
        # TensorFlow's padding "SAME": the odd zero comes last.
        whole = max((-(-side // stride) - 1) * stride + (kernel - 1) * dilation + 1 - side, 0)
        pads = [whole // 2, whole - whole // 2, *pads]
    plain = nn.Conv2d(
        convolution.in_channels,
        convolution.out_channels,
        convolution.kernel_size,  # type: ignore[arg-type]
        convolution.stride,  # type: ignore[arg-type]
        dilation=convolution.dilation,  # type: ignore[arg-type]
        groups=convolution.groups,
        bias=convolution.bias is not None,
    )
    plain.load_state_dict(convolution.state_dict())
    return nn.Sequential(nn.ZeroPad2d(tuple(pads)), plain)  # type: ignore[arg-type]
