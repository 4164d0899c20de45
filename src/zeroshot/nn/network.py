"""The dual encoder: an image tower and a text tower over one space, and the scale of its scores."""

from __future__ import annotations

import torch
from torch import nn

from zeroshot.nn.concept import ConceptTower
from zeroshot.nn.config import ConceptConfig, NetworkConfig, ResNetConfig, VisionConfig, ViTConfig
from zeroshot.nn.resnet import ModifiedResNet
from zeroshot.nn.text_transformer import TextTransformer
from zeroshot.nn.vision_transformer import VisionTransformer


class Network(nn.Module):
    """`visual` maps pixels [b, 3, s, s] to [b, d], `text` ids [b, t] to [b, d].

    Parameters are named as in OpenAI's checkpoints, with `text.` before the text tower's.
    Neither tower normalises its output.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.visual = image_tower(config.vision, config.embed_dim)
        self.text = TextTransformer(config.text, config.embed_dim)
        self.logit_scale = nn.Parameter(torch.empty(()))  # natural logarithm of the scale


def image_tower(config: VisionConfig, embed_dim: int) -> nn.Module:
    """Build the image tower that this configuration describes."""
    match config:
        case ViTConfig():
            return VisionTransformer(config, embed_dim)
        case ResNetConfig():
            return ModifiedResNet(config, embed_dim)
        case ConceptConfig():
            return ConceptTower(config, embed_dim)
