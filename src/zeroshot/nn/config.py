"""The numbers that define a network: what a checkpoint says about its own shape.

Plain frozen values, importable without torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

Activation = Literal["quick_gelu", "gelu", "gelu_tanh"]


@dataclass(frozen=True)
class ViTConfig:
    """A vision transformer (paper, section 2.4; `VisionTransformer` of openai/CLIP)."""

    image_size: int  # pixels, side of the square input
    patch_size: int  # pixels
    width: int
    layers: int
    heads: int  # not always width / 64: H/14 has 16 of 80, bigG/14 16 of 104
    mlp_width: int
    activation: Activation
    eps: float = 1e-5  # added to the variance in LayerNorm
    kind: ClassVar[str] = "vit"


@dataclass(frozen=True)
class ResNetConfig:
    """OpenAI's modified ResNet: three-convolution stem, blurred strides, attention pooling."""

    image_size: int
    width: int  # channels after the stem; 64 for RN50
    layers: tuple[int, int, int, int]  # bottlenecks a stage
    heads: int  # of the attention pool: 32 * width / 64
    kind: ClassVar[str] = "resnet"


@dataclass(frozen=True)
class ConceptConfig:
    """EfficientNet-Lite class scores, combined into the text space (ConSE, arXiv 1312.5650)."""

    image_size: int
    variant: int  # EfficientNet-Lite 0, 1 or 2
    concepts: int  # classes the image half knows
    temperature: float  # divides the class scores before the softmax
    top_k: int  # classes that take part in an image's embedding
    kind: ClassVar[str] = "concept"


@dataclass(frozen=True)
class TextConfig:
    """A causal text transformer (paper, section 2.4), pooled at the end-of-text token."""

    context_length: int  # tokens, start and end included
    vocab_size: int
    width: int
    layers: int
    heads: int
    mlp_width: int
    activation: Activation
    eps: float = 1e-5
    kind: ClassVar[str] = "clip"


VisionConfig = ViTConfig | ResNetConfig | ConceptConfig


@dataclass(frozen=True)
class NetworkConfig:
    """Both towers and the space they share."""

    embed_dim: int
    vision: VisionConfig
    text: TextConfig
