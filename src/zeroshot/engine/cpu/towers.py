"""List the towers that have a version for CPUs.

The table contains the CPU version for the type of a tower's configuration. It takes the
configuration, the tower's values and the precision. An image tower has the methods `trunk` and
`project` of the plain module. A tower that is not in the table runs as the plain module of
`zeroshot.nn`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from zeroshot.engine.backend import Values
from zeroshot.engine.cpu.bert import FastBert
from zeroshot.engine.cpu.conse import FastConSETower
from zeroshot.engine.cpu.convnext import FusedConvNeXt
from zeroshot.engine.cpu.fastvit import FusedFastViT
from zeroshot.engine.cpu.resnet import FastResNet
from zeroshot.engine.cpu.text import build_text_tower
from zeroshot.engine.cpu.vision import FastVisionTransformer
from zeroshot.spec import (
    BertConfig,
    ConSEConfig,
    ConvNeXtConfig,
    FastViTConfig,
    ResNetConfig,
    TextConfig,
    ViTConfig,
)

CPU_TOWERS: dict[type[Any], Callable[[Any, Values, torch.dtype], Any]] = {
    ViTConfig: FastVisionTransformer,
    ResNetConfig: FastResNet,
    ConSEConfig: FastConSETower,
    ConvNeXtConfig: FusedConvNeXt,
    FastViTConfig: FusedFastViT,
    TextConfig: build_text_tower,
    BertConfig: FastBert,
}
