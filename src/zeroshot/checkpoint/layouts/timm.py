"""Read timm's image towers, which open_clip's checkpoints may contain under `visual.trunk.`.

A config names the tower, so its sizes are in a table here. They are those of timm 1.0.31
(`timm/models/vision_transformer.py`, `timm/models/eva.py`). The activation is that of timm, which
computes GELU exactly in the towers of the first SigLIP, although they were trained with its tanh
formula; the difference is below 5e-4 for each unit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from zeroshot.checkpoint.config_fields import Fields
from zeroshot.spec import Activation, ViTConfig

PREFIX = "visual.trunk."
NAMES = (
    (r"^patch_embed\.proj\.", "conv1."),
    (r"^cls_token$", "class_embedding"),
    (r"^pos_embed$", "positional_embedding"),
    (r"^norm_pre\.", "ln_pre."),
    (r"^norm\.", "ln_post."),
    (r"^blocks\.", "transformer.resblocks."),
    (r"^attn_pool\.latent$", "attn_pool.probe"),
    (r"^attn_pool\.proj\.", "attn_pool.out_proj."),
    (r"^attn_pool\.norm\.", "attn_pool.ln."),
    (r"^head\.weight$", "proj"),
    (r"^head\.bias$", "proj_bias"),
    (r"\.norm([12])\.", r".ln_\1."),
    (r"\.attn\.qkv\.", ".attn.in_proj_"),
    (r"\.attn\.proj\.", ".attn.out_proj."),
    (r"\.mlp\.fc1\.", ".mlp.c_fc."),
    (r"\.mlp\.fc2\.", ".mlp.c_proj."),
)


def _siglip(
    patch: int, width: int, layers: int, heads: int, mlp_width: int, activation: Activation
) -> ViTConfig:
    return ViTConfig(
        image_size=patch,  # replaced by that of the config
        patch_size=patch,
        width=width,
        layers=layers,
        heads=heads,
        mlp_width=mlp_width,
        activation=activation,
        eps=1e-6,
        class_token=False,
        patch_bias=True,
        pre_norm=False,
        pool="attention",
        pool_heads=heads,
        pool_mlp_width=mlp_width,
        projection="none",
    )


def _perception_encoder(
    patch: int,
    width: int,
    layers: int,
    heads: int,
    mlp_width: int,
    *,
    class_token: bool = True,
) -> ViTConfig:
    return ViTConfig(
        image_size=patch,
        patch_size=patch,
        width=width,
        layers=layers,
        heads=heads,
        mlp_width=mlp_width,
        activation="gelu",
        class_token=class_token,
        pool="attention",
        pool_heads=8,
        pool_mlp_width=4 * width,
        projection="biased",
        rotary="xy",
        rotary_start=int(class_token),
    )


BASE, LARGE = (768, 12, 12, 3072), (1024, 24, 16, 4096)
SO400M, GIANT = (1152, 27, 16, 4304), (1536, 40, 16, 6144)
TOWERS: dict[str, ViTConfig] = {
    "vit_base_patch16_siglip": _siglip(16, *BASE, "gelu"),
    "vit_base_patch32_siglip": _siglip(32, *BASE, "gelu_tanh"),
    "vit_large_patch16_siglip": _siglip(16, *LARGE, "gelu"),
    "vit_large_patch16_siglip_512": _siglip(16, *LARGE, "gelu_tanh"),
    "vit_so400m_patch14_siglip": _siglip(14, *SO400M, "gelu"),
    "vit_so400m_patch16_siglip": _siglip(16, *SO400M, "gelu_tanh"),
    "vit_giantopt_patch16_siglip": _siglip(16, *GIANT, "gelu_tanh"),
    "vit_pe_core_tiny_patch16": _perception_encoder(16, 192, 12, 3, 768),
    "vit_pe_core_small_patch16": _perception_encoder(16, 384, 12, 6, 1536),
    "vit_pe_core_base_patch16": _perception_encoder(16, *BASE),
    "vit_pe_core_large_patch14": _perception_encoder(14, *LARGE),
    "vit_pe_core_gigantic_patch14": _perception_encoder(14, 1536, 50, 16, 8960, class_token=False),
}


def read_tower(vision: Fields) -> ViTConfig:
    """Read the image tower that a config names. Raises IncompatibleWeights for an unknown one."""
    name = vision.content["timm_model_name"]
    config = None
    if isinstance(name, str):
        config = TOWERS.get(name) or TOWERS.get(re.sub(r"_\d+$", "", name))  # without its size
    if config is None:
        raise vision.field_error(
            "timm_model_name", name, f"a tower of {', '.join(sorted(TOWERS))}, with its image size"
        )
    vision.require(timm_pool="map")
    return config.resized(vision.number("image_size", 224))


def rename(tensors: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, ...]]:
    """Return the tensors of the image tower by this package's names."""
    found: dict[str, tuple[Tensor, ...]] = {}
    for name, tensor in tensors.items():
        ours = name.removeprefix(PREFIX)
        for pattern, replacement in NAMES:
            ours = re.sub(pattern, replacement, ours)
        if ours in ("class_embedding", "attn_pool.probe"):
            tensor = tensor.reshape(-1)
        elif ours == "positional_embedding" and tensor.ndim == 3:
            tensor = tensor[0]
        elif ours == "proj" and tensor.ndim == 2:
            tensor = tensor.T
        found[f"visual.{ours}"] = (tensor,)
    for kind in ("weight", "bias"):  # of the query, and of keys and values
        names = [f"visual.attn_pool.{part}.{kind}" for part in ("q", "kv")]
        if all(name in found for name in names):
            query, rest = (found.pop(name)[0] for name in names)
            found[f"visual.attn_pool.in_proj_{kind}"] = (query, rest)
    return found
