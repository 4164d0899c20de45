"""MobileCLIP with timm's FastViT, and CLIP with timm's ConvNeXt, as open_clip writes them.

The large kind of FastViT has 125 million parameters or more in all published towers, so a small one
is added to timm, and its sizes to the table of zeroshot.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import checkpoints
import pictures
import timm
import torch
from peers import OPENAI_MEAN, OPENAI_STD, open_clip, open_clip_transform
from PIL import Image
from timm.layers import LayerNorm2d
from timm.models.fastvit import FastVit, RepConditionalPosEnc

from zeroshot.checkpoint.layouts import timm_fastvit

BRANCH = 0.25  # of what a block adds; random blocks add as much as there is


def small_tower(*, large: bool, **options: Any) -> FastVit:
    """Build a FastViT of timm with 8 channels: that of S0 to S2, or the large one of S3 and S4."""
    positions, stages = partial(RepConditionalPosEnc, spatial_shape=(7, 7)), 5 if large else 4
    kind: dict[str, Any] = {"se_downsamples": (False, False, True, True)}
    if large:
        kind = {
            "se_downsamples": (False,) * 5,
            "downsamples": (False, True, True, True, True),
            "norm_layer": partial(LayerNorm2d, eps=1e-5),
            "stem_use_scale_branch": False,
        }
    return FastVit(
        layers=SMALL[large],
        embed_dims=tuple(8 * 2**n for n in range(stages)),
        mlp_ratios=(4 if large else 3,) * stages,
        pos_embs=(None, None, None, positions, positions)[:stages],
        token_mixers=("repmixer", "repmixer", "repmixer", "attention", "attention")[:stages],
        lkc_use_act=True,
        **kind,
        **{name: value for name, value in options.items() if name in USED},
    )


SMALL = ((1, 2, 1, 1), (1, 1, 1, 1, 2))  # blocks of each stage: small, large
USED = ("num_classes", "global_pool", "drop_path_rate")


def fastvit_parity_small(pretrained: bool = False, **options: Any) -> FastVit:
    return small_tower(large=False, **options)


def fastvit_parity_large(pretrained: bool = False, **options: Any) -> FastVit:
    return small_tower(large=True, **options)


for entry in (fastvit_parity_small, fastvit_parity_large):
    timm.models.register_model(entry)
for name, like in (("small", "fastvit_mci0"), ("large", "fastvit_mci3")):
    timm_fastvit.TOWERS[f"fastvit_parity_{name}"] = replace(
        timm_fastvit.TOWERS[like], width=8, layers=SMALL[name == "large"]
    )


def mobileclip(tower: str, *, image_size: int = 256, layers: int = 2) -> dict[str, Any]:
    """Return open_clip's config of a MobileCLIP with a small text tower."""
    config: dict[str, Any] = open_clip.get_model_config("MobileCLIP2-S0")
    return config | {
        "embed_dim": 64,
        "vision_cfg": config["vision_cfg"] | {"timm_model_name": tower, "image_size": image_size},
        "text_cfg": config["text_cfg"] | {"width": 64, "heads": 2, "layers": layers},
    }


def convnext(projection: str) -> dict[str, Any]:
    """Return open_clip's config of a CLIP with the smallest ConvNeXt and a small text tower.

    The projection is that of `convnext_base_w` ("linear") or `convnext_large_d` ("mlp").
    """
    config: dict[str, Any] = open_clip.get_model_config("convnext_tiny")
    return config | {
        "embed_dim": 64,
        "vision_cfg": config["vision_cfg"] | {"timm_proj": projection, "image_size": 256},
        "text_cfg": config["text_cfg"] | {"width": 64, "heads": 2, "layers": 2},
    }


def write_convnext(folder: Path, config: dict[str, Any], seed: int) -> None:
    """Write a CLIP with ConvNeXt; seeded values of every tensor."""
    preprocess = {"mean": list(OPENAI_MEAN), "std": list(OPENAI_STD)}
    checkpoints.write_open_clip_folder(
        folder, config, preprocess, seed=seed, logit_scale=20.0, adjust=adjust
    )


def write_mobileclip(
    folder: Path, config: dict[str, Any], preprocess: dict[str, Any], seed: int
) -> None:
    """Write a MobileCLIP; seeded values of every tensor, running statistics included."""
    photographs = [Image.fromarray(array) for array in pictures.some_photographs()]
    transform = open_clip_transform(config["vision_cfg"]["image_size"], **preprocess)
    pixels = torch.stack([transform(photograph) for photograph in photographs])

    def settle(model: Any) -> None:
        adjust(model)
        checkpoints.settle_batch_norm(model, pixels)

    checkpoints.write_open_clip_folder(
        folder, config, preprocess, seed=seed, logit_scale=20.0, adjust=settle
    )


def adjust(model: Any) -> None:
    """Scale what blocks of the image tower add, so that rounding is not amplified by each."""
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("gamma"):
                tensor.mul_(BRANCH)
