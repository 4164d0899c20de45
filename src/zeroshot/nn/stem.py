"""Define the convolutions that turn pixels into tokens in MobileCLIP-B.

Source: `ConvStem` of timm (`vision_transformer_hybrid.py`), as `vit_base_mci_224` uses it.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from zeroshot.spec import STEM_STRIDES


class ConvolutionStem(nn.Module):
    """Three convolutions whose strides are their kernel sizes: [b, 3, s, s] to [b, w, s/16, s/16].

    All but the last are followed by batch norm and GELU.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        first, second, third = STEM_STRIDES
        inner = width // 4
        self.conv1 = nn.Conv2d(3, inner, first, stride=first, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, second, stride=second, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, width, third, stride=third)

    def forward(self, pixels: Tensor) -> Tensor:
        x = F.gelu(self.bn1(self.conv1(pixels)))  # [b, w/4, s/4, s/4]
        x = F.gelu(self.bn2(self.conv2(x)))  # [b, w/4, s/8, s/8]
        x = self.conv3(x)  # [b, w, s/16, s/16]
        return x
