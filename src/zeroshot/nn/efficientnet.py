"""EfficientNet-Lite, the image classifier of the embedded model.

Its batch norms are folded. Source: Tan and Le 2019, arXiv 1905.11946, section 3 (scaling) and table
1 (stages). The Lite variants have no squeeze-and-excitation, use ReLU6, and do not scale stem and
head (tensorflow/tpu, models/official/efficientnet/lite).
"""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional as F

STEM, HEAD = 32, 1280  # channels, the same in every Lite variant
STAGES = (  # kernel, stride, expansion, channels, repeats
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
SCALES = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2)}  # Lite variant -> width, depth


class EfficientNetLite(nn.Module):
    """Compute class scores [b, classes] of pixels [b, 3, s, s].

    s is any multiple of about 4.
    """

    def __init__(self, variant: int, classes: int) -> None:
        super().__init__()
        width, depth = SCALES[variant]
        self.stem = SameConv(3, STEM, 3, stride=2)
        blocks: list[nn.Module] = []
        channels = STEM
        for stage, (kernel, stride, expansion, base, repeats) in enumerate(STAGES):
            if 0 < stage < len(STAGES) - 1:  # Lite does not scale the first and last stage
                repeats = math.ceil(depth * repeats)
            out = _round(width * base)
            for repeat in range(repeats):
                step = stride if repeat == 0 else 1
                blocks.append(InvertedBottleneck(channels, out, kernel, step, expansion))
                channels = out
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Conv2d(channels, HEAD, 1)
        self.classifier = nn.Linear(HEAD, classes)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.classifier(self.trunk(pixels))  # [b, classes]

    def trunk(self, pixels: Tensor) -> Tensor:
        """Average the features over positions: [b, 3, s, s] to [b, 1280]."""
        return self.features(pixels).mean(dim=(2, 3))

    def features(self, pixels: Tensor) -> Tensor:
        """Run the convolutions: [b, 3, s, s] to [b, 1280, s/32, s/32]."""
        x = F.relu6(self.stem(pixels))  # [b, 32, s/2, s/2]
        x = F.relu6(self.head(self.blocks(x)))  # [b, 1280, s/32, s/32]
        return x


class InvertedBottleneck(nn.Module):
    """Expand, filter each channel separately, project; add the input if shapes match."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = channels * expansion
        self.residual = stride == 1 and channels == out
        self.expand = nn.Conv2d(channels, hidden, 1) if expansion > 1 else None
        self.depthwise = SameConv(hidden, hidden, kernel, stride=stride, groups=hidden)
        self.project = nn.Conv2d(hidden, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.residual else y


class SameConv(nn.Conv2d):
    """Convolve with TensorFlow's SAME padding.

    Odd padding has the larger part at the end.
    """

    def __init__(
        self, channels: int, out: int, kernel: int, *, stride: int = 1, groups: int = 1
    ) -> None:
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(channels, out, kernel, stride=stride, padding=padding, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        stride, kernel = self.stride[0], self.kernel_size[0]
        if stride > 1:
            height, width = (_count_padding(side, kernel, stride) for side in x.shape[-2:])
            x = F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))
        return super().forward(x)


def _count_padding(side: int, kernel: int, stride: int) -> int:
    """Return the number of pixels that SAME padding adds along one side."""
    return max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)


def _round(channels: float, divisor: int = 8) -> int:
    """Round to a multiple of `divisor`, at most 10% down (code of the paper)."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded
