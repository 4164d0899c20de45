"""Read vision transformers of timm, inside of open_clip's layout.

A config names the tower, so its sizes are in a table here. They are those of timm 1.0.31
(`vision_transformer.py`, `vision_transformer_hybrid.py` and `eva.py` of `timm/models`). The
activation is that of timm, which computes GELU exactly in the towers of the first SigLIP, although
they were trained with its tanh formula; the difference is below 5e-4 for each unit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from zeroshot.checkpoint.config_fields import Fields
from zeroshot.checkpoint.layouts.base import ImageLayout, join_projections, to_native_names
from zeroshot.checkpoint.tensors import StoredTensor
from zeroshot.spec import Activation, ViTConfig

PREFIX = "visual.trunk."
PATCHES = (f"{PREFIX}patch_embed.proj.weight", f"{PREFIX}patch_embed.backbone.0.conv.weight")
NAMES = (
    (r"^patch_embed\.proj\.", "conv1."),
    (r"^patch_embed\.backbone\.0\.conv\.", "stem.conv1."),
    (r"^patch_embed\.backbone\.1\.conv\.", "stem.conv2."),
    (r"^patch_embed\.backbone\.2\.conv\.", "stem.conv3."),
    (r"^patch_embed\.backbone\.0\.bn\.", "stem.bn1."),
    (r"^patch_embed\.backbone\.1\.bn\.", "stem.bn2."),
    (r"^cls_token$", "class_embedding"),
    (r"^pos_embed$", "positional_embedding"),
    (r"^norm_pre\.", "ln_pre."),
    (r"^norm\.", "ln_post."),
    (r"^blocks\.", "transformer.resblocks."),
    (r"^attn_pool\.latent$", "attn_pool.probe"),
    (r"^attn_pool\.proj\.", "attn_pool.out_proj."),
    (r"^attn_pool\.norm\.", "attn_pool.ln."),
    (r"^(visual\.)?head\.(proj\.)?weight$", "proj"),
    (r"^(visual\.)?head\.(proj\.)?bias$", "proj_bias"),
    (r"\.norm([12])\.", r".ln_\1."),
    (r"\.attn\.qkv\.", ".attn.in_proj_"),
    (r"\.attn\.([qv])_bias$", r".attn.\1_proj.bias"),
    (r"\.attn\.proj\.", ".attn.out_proj."),
    (r"\.attn\.norm\.", ".attn.ln."),
    (r"\.mlp\.fc1(_x)?\.", ".mlp.c_fc."),
    (r"\.mlp\.fc1_g\.", ".mlp.c_gate."),
    (r"\.mlp\.norm\.", ".mlp.ln."),
    (r"\.mlp\.fc2\.", ".mlp.c_proj."),
)


def _clip(
    patch: int, width: int, layers: int, heads: int, mlp_width: int, activation: Activation = "gelu"
) -> ViTConfig:
    return ViTConfig(
        image_size=patch,  # replaced by that of the config
        patch_size=patch,
        width=width,
        layers=layers,
        heads=heads,
        mlp_width=mlp_width,
        activation=activation,
        projection="biased",
    )


def _siglip(
    patch: int, width: int, layers: int, heads: int, mlp_width: int, activation: Activation
) -> ViTConfig:
    return replace(
        _clip(patch, width, layers, heads, mlp_width, activation),
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
    patch: int, width: int, layers: int, heads: int, mlp_width: int, *, class_token: bool = True
) -> ViTConfig:
    return replace(
        _clip(patch, width, layers, heads, mlp_width),
        class_token=class_token,
        pool="attention",
        pool_heads=8,
        pool_mlp_width=4 * width,
        rotary="xy",
        rotary_start=int(class_token),
    )


def _eva(patch: int, width: int, layers: int, heads: int, mlp_width: int) -> ViTConfig:
    """Return EVA-01; its keys have no bias, so zeros are inserted when it is read."""
    config = _clip(patch, width, layers, heads, mlp_width)
    return replace(config, eps=1e-6, patch_bias=True, pre_norm=False)


def _eva_02(patch: int, width: int, layers: int, heads: int, mlp_width: int) -> ViTConfig:
    """Return EVA-02 B or L; places are counted on the grid of their pre-training, 16 x 16."""
    return replace(
        _eva(patch, width, layers, heads, mlp_width),
        activation="silu",
        rotary="yx",
        rotary_grid=16,
        gated_mlp=True,
        inner_norm=True,
    )


BASE, LARGE = (768, 12, 12, 3072), (1024, 24, 16, 4096)
SO400M, GIANT = (1152, 27, 16, 4304), (1536, 40, 16, 6144)
HUGE = (1280, 32, 16, 5120)
TOWERS: dict[str, ViTConfig] = {
    "vit_base_patch16_siglip": _siglip(16, *BASE, "gelu"),
    "vit_base_patch32_siglip": _siglip(32, *BASE, "gelu_tanh"),
    "vit_large_patch16_siglip": _siglip(16, *LARGE, "gelu"),
    "vit_large_patch16_siglip_512": _siglip(16, *LARGE, "gelu_tanh"),
    "vit_so400m_patch14_siglip": _siglip(14, *SO400M, "gelu"),
    "vit_so400m_patch16_siglip": _siglip(16, *SO400M, "gelu_tanh"),
    "vit_giantopt_patch16_siglip": _siglip(16, *GIANT, "gelu_tanh"),
    "vit_base_patch16": replace(  # BiomedCLIP
        _siglip(16, *BASE, "gelu"), class_token=True, pool="token", projection="matrix"
    ),
    "vit_pe_core_tiny_patch16": _perception_encoder(16, 192, 12, 3, 768),
    "vit_pe_core_small_patch16": _perception_encoder(16, 384, 12, 6, 1536),
    "vit_pe_core_base_patch16": _perception_encoder(16, *BASE),
    "vit_pe_core_large_patch14": _perception_encoder(14, *LARGE),
    "vit_pe_core_gigantic_patch14": _perception_encoder(14, 1536, 50, 16, 8960, class_token=False),
    "vit_base_patch32_clip": _clip(32, *BASE),
    "vit_base_patch16_clip": _clip(16, *BASE),
    "vit_large_patch14_clip": _clip(14, *LARGE),  # MobileCLIP2-L/14
    "vit_huge_patch14_clip": _clip(14, *HUGE),
    "vit_base_patch32_clip_quickgelu": _clip(32, *BASE, "quick_gelu"),
    "vit_base_patch16_clip_quickgelu": _clip(16, *BASE, "quick_gelu"),
    "vit_large_patch14_clip_quickgelu": _clip(14, *LARGE, "quick_gelu"),
    "vit_huge_patch14_clip_quickgelu": _clip(14, *HUGE, "quick_gelu"),
    "eva_giant_patch14": _eva(14, 1408, 40, 16, 6144),
    "eva_giant_patch14_clip": _eva(14, 1408, 40, 16, 6144),
    "eva02_base_patch16_clip": _eva_02(16, 768, 12, 12, 2048),
    "eva02_large_patch14_clip": _eva_02(14, 1024, 24, 16, 2730),
    "eva02_enormous_patch14_clip": replace(_eva(14, 1792, 64, 16, 15360), block_norm="output"),
    "vit_base_mci": replace(  # MobileCLIP-B
        _eva(16, *BASE), patch_bias=False, stem="convolutions", class_position=False
    ),
}


def _check_fields(vision: Fields, config: ViTConfig) -> ViTConfig:
    """Return the tower; raise IncompatibleWeights for another pool or projection than it has."""
    if config.projection == "matrix":
        _require_head(vision)
    elif config.pool == "token":
        vision.require(timm_pool="token")
        if (kind := vision.content.get("timm_proj", "linear") or None) is not None:
            raise vision.field_error("timm_proj", kind, "null, as in published models")
    else:
        vision.require(timm_pool="map")
    return config


def _require_head(vision: Fields) -> None:
    """Reject other heads than a projection of the class token without a bias."""
    # The defaults are those of open_clip; "" means the pool of the tower, which is its token.
    pool, head = vision.content.get("timm_pool", "avg"), vision.content.get("timm_proj", "linear")
    if pool not in ("", "token"):
        raise vision.field_error("timm_pool", pool, "'' or 'token'")
    if head != "linear":
        raise vision.field_error("timm_proj", head, "'linear'")
    vision.require(timm_proj_bias=False)


def _rename(tensors: Mapping[str, Tensor], source: str) -> dict[str, StoredTensor]:
    """Return the tensors of the image tower by this package's names."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        ours = name.removeprefix(PREFIX)
        for pattern, replacement in NAMES:
            ours = re.sub(pattern, replacement, ours)
        if ours in ("class_embedding", "attn_pool.probe"):
            tensor = tensor.reshape(-1)
        elif ours == "positional_embedding" and tensor.ndim == 3 and len(tensor) == 1:
            tensor = tensor[0]
        elif ours == "proj" and tensor.ndim == 2:
            tensor = tensor.T
        renamed[f"visual.{ours}"] = tensor
    for name in [name for name in renamed if name.endswith(".attn.q_proj.bias")]:
        keys = name.replace(".q_proj.", ".k_proj.")
        renamed.setdefault(keys, torch.zeros_like(renamed[name]))  # EVA's have no bias
    found = join_projections(renamed)
    for kind in ("weight", "bias"):  # of the query, and of keys and values
        names = [f"visual.attn_pool.{part}.{kind}" for part in ("q", "kv")]
        parts = [renamed[each] for each in names if each in renamed]
        if len(parts) == 2 and all(p.ndim and p.shape[1:] == parts[0].shape[1:] for p in parts):
            found[f"visual.attn_pool.in_proj_{kind}"] = tuple(parts)
            for each in names:
                del found[each]
    return to_native_names(found, source)


LAYOUT = ImageLayout(PATCHES, TOWERS, _check_fields, _rename)
