"""Convolve with folded batch norms, packed weights, fused ReLU and fused skip.

As in `linear`, torch's private operators are used if they exist and give correct results; otherwise
plain functions.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights

from zeroshot.engine.backend import Values

BATCH_NORM_EPS = 1e-5  # torch's default, which `zeroshot.nn.resnet` uses


class Convolution:
    """A convolution with a bias and an optional ReLU.

    Input and output are channels last.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        *,
        stride: int = 1,
        padding: int = 0,
        relu: bool = False,
        packed: bool = False,
    ) -> None:
        self.stride, self.padding = [stride, stride], [padding, padding]
        self.relu, self.packed, self.bias = relu, packed, bias
        self.weight = weight.contiguous(memory_format=torch.channels_last)
        if packed:
            self.weight = torch.ops.mkldnn._reorder_convolution_weight(
                self.weight, self.padding, self.stride, [1, 1], 1, None
            )

    def __call__(self, x: Tensor) -> Tensor:
        """Convolve [b, c, s, s]."""
        if not self.packed:
            x = F.conv2d(x, self.weight, self.bias, self.stride, self.padding)
            return F.relu(x) if self.relu else x
        fused = "relu" if self.relu else "none"
        y: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, self.weight, self.bias, self.padding, self.stride, [1, 1], 1, fused, [], ""
        )
        return y

    def add_to(self, skip: Tensor, x: Tensor) -> Tensor:
        """Return relu(skip + convolved x)."""
        if not self.packed:
            return F.relu(skip + F.conv2d(x, self.weight, self.bias, self.stride, self.padding))
        geometry = (self.padding, self.stride, [1, 1], 1)
        y: Tensor = torch.ops.mkldnn._convolution_pointwise.binary(
            x, skip, self.weight, self.bias, *geometry, "add", 1.0, "relu", [], ""
        )
        return y


def fold_batch_norm(
    conv: Values,
    norm: Values,
    dtype: torch.dtype,
    *,
    stride: int = 1,
    padding: int = 0,
    relu: bool = False,
) -> Convolution:
    """Fold a batch norm into the preceding convolution, which has no bias of its own."""
    weight, bias = fuse_conv_bn_weights(
        conv["weight"],
        None,
        norm["running_mean"],
        norm["running_var"],
        BATCH_NORM_EPS,
        norm["weight"],
        norm["bias"],
    )
    return Convolution(
        weight.to(dtype),
        bias.to(dtype),
        stride=stride,
        padding=padding,
        relu=relu,
        packed=can_pack(dtype),
    )


@cache
def can_pack(dtype: torch.dtype) -> bool:
    """Return whether torch has the private operators and they are correct."""
    if dtype not in (torch.float32, torch.bfloat16):
        return False
    random = torch.Generator("cpu").manual_seed(0)
    weight = (
        torch.randn(16, 16, 3, 3, generator=random, device="cpu", dtype=torch.float32) / 12
    ).to(dtype)
    x = torch.randn(2, 16, 9, 9, generator=random, device="cpu", dtype=torch.float32).to(dtype)
    bias = x[0, :, 0, 0].contiguous()  # oneDNN reads a strided one wrongly
    x = x.contiguous(memory_format=torch.channels_last)
    tolerance = 0.1 if dtype == torch.bfloat16 else 1e-3
    plain = Convolution(weight, bias, padding=1, relu=True)
    try:
        packed = Convolution(weight, bias, padding=1, relu=True, packed=True)
        return torch.allclose(packed(x), plain(x), atol=tolerance) and torch.allclose(
            packed.add_to(x, x), plain.add_to(x, x), atol=tolerance
        )
    except (AttributeError, RuntimeError, TypeError, NotImplementedError):
        return False
