"""Read ConvNeXt of timm, an image tower of LAION, inside of open_clip's layout.

Sizes and names are those of timm 1.0.31 (`timm/models/convnext.py`). open_clip adds the projection
under `visual.head`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from zeroshot.checkpoint.config_fields import Fields
from zeroshot.checkpoint.layouts.base import ImageLayout, to_native_names
from zeroshot.checkpoint.tensors import StoredTensor
from zeroshot.spec import ConvNeXtConfig

FIRST = ("visual.trunk.stem.0.weight",)
NAMES = (
    (r"^visual\.trunk\.", "visual."),
    (r"\.downsample\.", ".down."),
    (r"\.conv_dw\.", ".conv."),
    (r"(blocks\.\d+)\.norm\.", r"\1.ln."),
    (r"(blocks\.\d+)\.mlp\.fc1\.", r"\1.mlp.c_fc."),
    (r"(blocks\.\d+)\.mlp\.fc2\.", r"\1.mlp.c_proj."),
    (r"^visual\.head\.norm\.", "visual.ln_post."),
    (r"^visual\.head\.mlp\.fc1\.", "visual.hidden."),
    (r"^visual\.head\.(proj|mlp\.fc2)\.", "visual.proj."),
)
TOWERS = {
    "convnext_tiny": ConvNeXtConfig(224, 96, (3, 3, 9, 3)),
    "convnext_small": ConvNeXtConfig(224, 96, (3, 3, 27, 3)),
    "convnext_base": ConvNeXtConfig(224, 128, (3, 3, 27, 3)),
    "convnext_large": ConvNeXtConfig(224, 192, (3, 3, 27, 3)),
    "convnext_xlarge": ConvNeXtConfig(224, 256, (3, 3, 27, 3)),
    "convnext_xxlarge": ConvNeXtConfig(224, 384, (3, 4, 30, 3), eps=1e-5),
}
DEEP = {"linear": False, "mlp": True}  # `timm_proj` -> whether the projection has two layers


def _read(vision: Fields, config: ConvNeXtConfig) -> ConvNeXtConfig:
    """Read the projection of the image tower."""
    vision.require(timm_proj_bias=False)
    pool = vision.content.get("timm_pool", "avg")
    if pool not in ("", "avg"):
        raise vision.field_error("timm_pool", pool, "'' or 'avg'")
    return replace(config, deep_projection=vision.choice("timm_proj", DEEP, "linear"))


def _rename(tensors: Mapping[str, Tensor], source: str) -> dict[str, StoredTensor]:
    """Return the tensors of the image tower by this package's names."""
    renamed: dict[str, tuple[Tensor, ...]] = {}
    for name, tensor in tensors.items():
        for pattern, ours in NAMES:
            name = re.sub(pattern, ours, name)
        renamed[name] = (tensor,)
    return to_native_names(renamed, source)


LAYOUT = ImageLayout(FIRST, TOWERS, _read, _rename)
