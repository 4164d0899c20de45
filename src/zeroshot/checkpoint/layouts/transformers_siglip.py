"""Read SiglipModel of the transformers library: SigLIP, and SigLIP 2 of a fixed resolution.

Its config has the defaults of SiglipTextConfig and SiglipVisionConfig. The tensor names are in
`transformers.NAMES`. Source: `models/siglip/configuration_siglip.py` of transformers 5.
"""

from __future__ import annotations

from zeroshot.checkpoint.config_fields import Fields
from zeroshot.spec import Activation, NetworkConfig, TextConfig, ViTConfig

ACTIVATIONS: dict[object, Activation] = {"gelu": "gelu", "gelu_pytorch_tanh": "gelu_tanh"}
FIELDS = ("vision_use_head", "projection_size")  # besides those of CLIP's towers


def network_of(vision: Fields, text: Fields) -> NetworkConfig:
    """Read the content of `config.json`, whose fields have been checked."""
    vision.require(num_channels=3, vision_use_head=True)
    width = vision.number("hidden_size", 768)
    heads = vision.number("num_attention_heads", 12)
    mlp_width = vision.number("intermediate_size", 3072)
    text_width = text.number("hidden_size", 768)
    embed_dim = text.number("projection_size", text_width)
    return NetworkConfig(
        embed_dim,
        ViTConfig(
            image_size=vision.number("image_size", 224),
            patch_size=vision.number("patch_size", 16),
            width=width,
            layers=vision.number("num_hidden_layers", 12),
            heads=heads,
            mlp_width=mlp_width,
            activation=_read_activation(vision),
            eps=vision.real("layer_norm_eps", 1e-6),
            class_token=False,
            patch_bias=True,
            pre_norm=False,
            pool="attention",
            pool_heads=heads,
            pool_mlp_width=mlp_width,
            projection="none",
        ),
        TextConfig(
            context_length=text.number("max_position_embeddings", 64),
            vocab_size=text.number("vocab_size", 32000),
            width=text_width,
            layers=text.number("num_hidden_layers", 12),
            heads=text.number("num_attention_heads", 12),
            mlp_width=text.number("intermediate_size", 3072),
            activation=_read_activation(text),
            eps=text.real("layer_norm_eps", 1e-6),
            causal=False,
            pool="last",
            projection="biased",
        ),
        logit_bias=True,
    )


def _read_activation(tower: Fields) -> Activation:
    name = tower.content.get("hidden_act", "gelu_pytorch_tanh")
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise tower.field_error("hidden_act", name, f"one of {', '.join(map(str, ACTIVATIONS))}")
    return ACTIVATIONS[name]
