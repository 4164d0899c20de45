"""Read SiglipModel and Siglip2Model of the transformers library.

SiglipModel is SigLIP, and SigLIP 2 of a fixed resolution. Siglip2Model is SigLIP 2 NaFlex, whose
images keep their aspect ratio. The defaults of both configs are those of SiglipTextConfig and
SiglipVisionConfig; instead of the image size, Siglip2VisionConfig has the number of positions. The
tensor names are in `transformers.NAMES`. Sources: `models/siglip/configuration_siglip.py` and
`models/siglip2` of transformers 5.
"""

from __future__ import annotations

import math

from torch import Tensor

from zeroshot.checkpoint.config_fields import Fields
from zeroshot.spec import Activation, NetworkConfig, TextConfig, ViTConfig

ACTIVATIONS: dict[object, Activation] = {"gelu": "gelu", "gelu_pytorch_tanh": "gelu_tanh"}
FIELDS = ("vision_use_head", "projection_size")  # besides those of CLIP's towers
HALF = (0.5, 0.5, 0.5)  # default mean and deviation of Siglip2ImageProcessor


def network_of(vision: Fields, text: Fields, *, any_grid: bool = False) -> NetworkConfig:
    """Read the content of `config.json`, whose fields have been checked.

    `any_grid`: of Siglip2Model.
    """
    vision.require(num_channels=3, vision_use_head=True)
    patch = vision.number("patch_size", 16)
    width = vision.number("hidden_size", 768)
    heads = vision.number("num_attention_heads", 12)
    mlp_width = vision.number("intermediate_size", 3072)
    text_width = text.number("hidden_size", 768)
    embed_dim = text.number("projection_size", text_width)
    return NetworkConfig(
        embed_dim,
        ViTConfig(
            image_size=_read_side(vision) * patch if any_grid else vision.number("image_size", 224),
            patch_size=patch,
            width=width,
            layers=vision.number("num_hidden_layers", 12),
            heads=heads,
            mlp_width=mlp_width,
            activation=vision.choice("hidden_act", ACTIVATIONS, "gelu_pytorch_tanh"),
            eps=vision.real("layer_norm_eps", 1e-6),
            class_token=False,
            patch_bias=True,
            pre_norm=False,
            pool="attention",
            pool_heads=heads,
            pool_mlp_width=mlp_width,
            projection="none",
            any_grid=any_grid,
        ),
        TextConfig(
            context_length=text.number("max_position_embeddings", 64),
            vocab_size=text.number("vocab_size", 32000),
            width=text_width,
            layers=text.number("num_hidden_layers", 12),
            heads=text.number("num_attention_heads", 12),
            mlp_width=text.number("intermediate_size", 3072),
            activation=text.choice("hidden_act", ACTIVATIONS, "gelu_pytorch_tanh"),
            eps=text.real("layer_norm_eps", 1e-6),
            causal=False,
            pool="last",
            projection="biased",
        ),
        logit_bias=True,
    )


def _read_side(vision: Fields) -> int:
    """Return the side of the square grid of positions."""
    positions = vision.number("num_patches", 256)
    if math.isqrt(positions) ** 2 != positions:
        raise vision.field_error("num_patches", positions, "a square number")
    return math.isqrt(positions)


def to_convolution(weight: Tensor) -> Tensor:
    """Convert the map from patches to tokens [w, p * p * 3] to a convolution's [w, 3, p, p].

    Patches are stored by rows, columns and channels. Other shapes do not change.
    """
    side = math.isqrt(weight.shape[1] // 3)
    if not side or weight.shape[1] != 3 * side**2:
        return weight
    return weight.reshape(-1, side, side, 3).permute(0, 3, 1, 2)
