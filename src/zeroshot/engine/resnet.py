"""The ResNet for a CPU: batch norm folded into the convolutions, channels last."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from zeroshot.nn.resnet import ModifiedResNet


class FastResNet:
    """Pixels [b, 3, s, s] become embeddings [b, d]; equal to the plain tower but for rounding."""

    def __init__(self, tower: ModifiedResNet, dtype: torch.dtype) -> None:
        tower = copy.deepcopy(tower)
        for module in tower.modules():
            _fold(module)
        self.dtype = dtype
        self.tower = tower.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def __call__(self, pixels: Tensor) -> Tensor:
        """Embed a batch."""
        x: Tensor = self.tower(pixels.to(self.dtype, memory_format=torch.channels_last))
        return x


def _fold(module: nn.Module) -> None:
    """Multiply each batch norm of a module into the convolution before it."""
    names = ["0", "1"] if isinstance(module, nn.Sequential) else None
    pairs = [("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3")]
    if names:
        pairs = [(names[0], names[1])]
    for conv_name, norm_name in pairs:
        conv, norm = getattr(module, conv_name, None), getattr(module, norm_name, None)
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
            setattr(module, norm_name, nn.Identity())
