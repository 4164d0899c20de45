"""Run convolutions, channels last: those of ResNets with batch norm and ReLU, and depthwise ones.

torch's packed operators are not used. For RN50 in float32 they are 1.5 times as fast in batches,
but 1.8 times as slow for one image, since they use one thread; in bfloat16 they are slower in
both.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights

from zeroshot.engine.backend import Values

BATCH_NORM_EPS = 1e-5  # torch's default, which `zeroshot.nn.resnet` uses


class Convolution:
    """A convolution with bias, then a ReLU if `relu`; input and output are channels last."""

    def __init__(
        self, weight: Tensor, bias: Tensor, *, stride: int = 1, padding: int = 0, relu: bool = False
    ) -> None:
        self.weight = weight.contiguous(memory_format=torch.channels_last)
        self.bias, self.stride, self.padding, self.relu = bias, stride, padding, relu

    def __call__(self, x: Tensor) -> Tensor:
        """Convolve [b, c, s, s]."""
        x = F.conv2d(x, self.weight, self.bias, self.stride, self.padding)
        return F.relu_(x) if self.relu else x

    def add_to(self, skip: Tensor, x: Tensor) -> Tensor:
        """Return relu(skip + convolved x)."""
        y = F.conv2d(x, self.weight, self.bias, self.stride, self.padding)
        return F.relu_(y.add_(skip))


def fold_batch_norm(
    conv: Values,
    norm: Values,
    dtype: torch.dtype,
    *,
    stride: int = 1,
    padding: int = 0,
    relu: bool = False,
) -> Convolution:
    """Fold a batch norm into the preceding convolution, which has no bias."""
    weight, bias = fuse_conv_bn_weights(
        conv["weight"],
        None,
        norm["running_mean"],
        norm["running_var"],
        BATCH_NORM_EPS,
        norm["weight"],
        norm["bias"],
    )
    return Convolution(weight.to(dtype), bias.to(dtype), stride=stride, padding=padding, relu=relu)


class Depthwise:
    """A padded depthwise convolution with bias, channels last.

    torch is slow if a channel has several outputs: for FastViT's 7 x 7 kernels with two, a
    convolution for each output takes a quarter of the time. So outputs are in another order: the
    first of every channel, then the second; see `order`.
    """

    def __init__(
        self, values: Values, dtype: torch.dtype, *, stride: int = 1, outputs: int = 1
    ) -> None:
        weight, bias = values["weight"], values["bias"]
        self.stride, self.padding = stride, weight.shape[-1] // 2
        self.parts = [
            (weight[n::outputs].to(dtype, copy=True), bias[n::outputs].to(dtype, copy=True))
            for n in range(outputs)
        ]
        self.order = torch.arange(len(weight)).view(-1, outputs).T.flatten()  # of the outputs

    def __call__(self, x: Tensor) -> Tensor:
        """Convolve [b, s, s, c] to [b, s', s', c']."""
        x = x.permute(0, 3, 1, 2)
        convolved = [
            F.conv2d(x, weight, bias, self.stride, self.padding, 1, len(weight))
            for weight, bias in self.parts
        ]
        x = convolved[0] if len(convolved) == 1 else torch.cat(convolved, dim=1)
        return x.permute(0, 2, 3, 1)
