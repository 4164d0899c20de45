"""The dual encoder: an image tower and a text tower over one space, and the scale of its scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from zeroshot.nn.conse import ConSETower
from zeroshot.nn.resnet import ModifiedResNet
from zeroshot.nn.text_transformer import TextTransformer
from zeroshot.nn.vision_transformer import VisionTransformer
from zeroshot.spec import ConSEConfig, NetworkConfig, ResNetConfig, TextConfig, ViTConfig

# Type of a tower's configuration -> its module, made of the configuration and the width of the
# shared space. A new tower is one module and one row here.
TOWERS: dict[type[Any], Callable[[Any, int], nn.Module]] = {
    ViTConfig: VisionTransformer,
    ResNetConfig: ModifiedResNet,
    ConSEConfig: ConSETower,
    TextConfig: TextTransformer,
}


class Network(nn.Module):
    """`visual` maps pixels [b, 3, s, s] to [b, d], `text` ids [b, t] to [b, d].

    Parameters are named as in OpenAI's checkpoints, with `text.` before the text tower's.
    Neither tower normalizes its output.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.visual = TOWERS[type(config.vision)](config.vision, config.embed_dim)
        self.text = TOWERS[type(config.text)](config.text, config.embed_dim)
        self.logit_scale = nn.Parameter(torch.empty(()))  # natural logarithm of the scale
