"""A tiny MobileCLIP-B in the layout of open_clip, with a tower named as timm does."""

from __future__ import annotations

from zeroshot.spec import ViTConfig

MOBILECLIP_B = ViTConfig(
    image_size=48,
    patch_size=16,
    width=48,
    layers=2,
    heads=3,
    mlp_width=96,
    activation="gelu",
    eps=1e-6,
    pre_norm=False,
    projection="biased",
    stem="convolutions",
    class_position=False,
)
