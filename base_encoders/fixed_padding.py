"""Towers of TensorFlow's make pad by the size of what they see: here for one size, so that the graph only holds numbers.

A graph that works its padding out for each picture runs at a third of the speed (docs/experiments.md).
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from unbraid.training.torchvision_shim import ensure_torchvision


class _Padded(nn.Module):
    """A convolution behind zeros around its input of `sides` (height, width): as many as keep one output a stride."""

    def __init__(self, convolution: nn.Conv2d, sides: tuple[int, ...]) -> None:
        super().__init__()
        self.convolution = convolution
        self.pads: list[int] = []
        for side, kernel, stride, dilation in zip(
            sides, convolution.kernel_size, convolution.stride, convolution.dilation, strict=True
        ):
            # TensorFlow's padding "SAME": the odd zero comes last.
            whole = max((-(-side // stride) - 1) * stride + (kernel - 1) * dilation + 1 - side, 0)
            self.pads = [whole // 2, whole - whole // 2, *self.pads]

    def forward(self, pixels: Tensor) -> Tensor:
        own = self.convolution
        around = functional.pad(pixels, self.pads)
        return functional.conv2d(
            around, own.weight, own.bias, own.stride, dilation=own.dilation, groups=own.groups
        )


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
        setattr(fixed.get_submodule(parent), last, _Padded(module, seen[name]))
    return fixed
