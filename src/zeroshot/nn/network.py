"""Define the dual encoder: an image tower, a text tower and the logit scale."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from zeroshot.nn.bert_transformer import BertTransformer
from zeroshot.nn.conse import ConSETower
from zeroshot.nn.convnext import ConvNeXt
from zeroshot.nn.fastvit import FastViT
from zeroshot.nn.resnet import ModifiedResNet
from zeroshot.nn.text_transformer import TextTransformer
from zeroshot.nn.vision_transformer import VisionTransformer
from zeroshot.spec import (
    BertConfig,
    ConSEConfig,
    ConvNeXtConfig,
    FastViTConfig,
    NetworkConfig,
    ResNetConfig,
    TextConfig,
    ViTConfig,
)

# Type of a tower's configuration -> its module, which takes the configuration and the width of the
# shared space. To add a tower, write a module and add it here. An image tower consists of `trunk`
# (pixels to features) and `project` (features to the shared space); `forward` applies both.
TOWERS: dict[type[Any], Callable[[Any, int], nn.Module]] = {
    ViTConfig: VisionTransformer,
    ResNetConfig: ModifiedResNet,
    ConSEConfig: ConSETower,
    ConvNeXtConfig: ConvNeXt,
    FastViTConfig: FastViT,
    TextConfig: TextTransformer,
    BertConfig: BertTransformer,
}


class Network(nn.Module):
    """The image tower `visual`, the text tower `text`, `logit_scale` and perhaps `logit_bias`.

    `visual` embeds pixels [b, 3, s, s] as [b, d], and `visual.trunk` returns the features before
    the projection. `text` embeds ids [b, t] as [b, d]. Parameters have the names of OpenAI's
    checkpoints, with `text.` before those of the text tower. The towers do not normalize their
    outputs.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.visual = TOWERS[type(config.vision)](config.vision, config.embed_dim)
        self.text = TOWERS[type(config.text)](config.text, config.embed_dim)
        self.logit_scale = nn.Parameter(torch.empty(()))  # natural logarithm of the scale
        if config.logit_bias:
            self.logit_bias = nn.Parameter(torch.empty(()))
