"""MobileCLIP with timm's FastViT, and CLIP with timm's ConvNeXt, as open_clip writes them.

The tiny towers of the tests are added to timm, and their sizes to the tables of zeroshot: all
published FastViTs of the kind of S3 and S4 have 125 million parameters or more.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import checkpoints
import eva
import pictures
import timm
import torch
from checkpoints import Peer
from peers import OPENAI_MEAN, OPENAI_STD, open_clip, open_clip_transform
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.layers import LayerNorm2d
from timm.models.convnext import ConvNeXt
from timm.models.fastvit import FastVit, RepConditionalPosEnc

from tests.checkpoint import families_convnext, families_fastvit, families_mobileclip
from zeroshot.checkpoint.layouts import timm_convnext, timm_fastvit
from zeroshot.spec import FastViTConfig

BRANCH = 0.25  # of what a block adds; random blocks add as much as there is
NEUTRAL = {"mean": [0.0] * 3, "std": [1.0] * 3, "interpolation": "bilinear"}
WEIGHTS = "open_clip_model.safetensors"
USED = ("num_classes", "global_pool", "drop_path_rate")


def build(config: FastViTConfig, options: dict[str, Any]) -> FastVit:
    """Build a FastViT of timm like that of S0 to S2, or the large one of S3 and S4."""
    positions, stages = partial(RepConditionalPosEnc, spatial_shape=(7, 7)), len(config.layers)
    kind: dict[str, Any] = {"se_downsamples": (False, False, True, True)}
    if config.layer_norm:
        kind = {
            "se_downsamples": (False,) * 5,
            "downsamples": (False, True, True, True, True),
            "norm_layer": partial(LayerNorm2d, eps=1e-5),
            "stem_use_scale_branch": False,
        }
    return FastVit(
        layers=config.layers,
        embed_dims=tuple(config.channels(n) for n in range(stages)),
        mlp_ratios=(config.mlp_ratio,) * stages,
        pos_embs=(None, None, None, positions, positions)[:stages],
        token_mixers=("repmixer", "repmixer", "repmixer", "attention", "attention")[:stages],
        lkc_use_act=True,
        **kind,
        **{name: value for name, value in options.items() if name in USED},
    )


def fastvit_test_small(pretrained: bool = False, **options: Any) -> FastVit:
    return build(families_fastvit.SMALL, options)


def fastvit_test_large(pretrained: bool = False, **options: Any) -> FastVit:
    return build(families_fastvit.LARGE, options)


def convnext_test(pretrained: bool = False, **options: Any) -> ConvNeXt:
    config = families_convnext.SHALLOW
    dims = tuple(config.width << n for n in range(4))
    model = ConvNeXt(depths=config.layers, dims=dims, drop_path_rate=options["drop_path_rate"])
    model.default_cfg = {}  # open_clip reads it
    return model


for entry in (fastvit_test_small, fastvit_test_large, convnext_test):
    timm.models.register_model(entry)
timm_fastvit.LAYOUT.towers.update(families_fastvit.TOWERS)
timm_convnext.LAYOUT.towers[families_convnext.TOWER] = families_convnext.SHALLOW


def mobileclip(tower: str, *, image_size: int = 256, width: int = 64) -> dict[str, Any]:
    """Return open_clip's config of a MobileCLIP with a small text tower."""
    config: dict[str, Any] = open_clip.get_model_config("MobileCLIP2-S0")
    return config | {
        "embed_dim": width,
        "vision_cfg": config["vision_cfg"] | {"timm_model_name": tower, "image_size": image_size},
        "text_cfg": config["text_cfg"] | {"width": width, "heads": 2, "layers": 2},
    }


def convnext(
    projection: str, tower: str = "convnext_tiny", *, image_size: int = 256, width: int = 64
) -> dict[str, Any]:
    """Return open_clip's config of a CLIP with a ConvNeXt and a small text tower.

    The projection is that of `convnext_base_w` ("linear") or `convnext_large_d` ("mlp").
    """
    config: dict[str, Any] = open_clip.get_model_config("convnext_tiny")
    return config | {
        "embed_dim": width,
        "vision_cfg": config["vision_cfg"]
        | {"timm_model_name": tower, "timm_proj": projection, "image_size": image_size},
        "text_cfg": config["text_cfg"] | {"width": width, "heads": 2, "layers": 2},
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


# ---- Apple's own files of MobileCLIP


def apple_file(model: str, seed: int) -> Callable[[Path], None]:
    """Return a writer of a small MobileCLIP in the names of Apple's own files.

    open_clip's code, which converts such files, restores its own names. Heads have 64 channels,
    because the file does not contain their number.
    """
    text = {"width": 128, "heads": 2, "layers": 2}
    if model == "MobileCLIP-B":
        config = eva.SMALL[model].config
    else:
        config = mobileclip("fastvit_test_small", image_size=families_fastvit.SMALL.image_size)
    config |= {"text_cfg": config["text_cfg"] | text}

    def write(path: Path) -> None:
        folder = path.parent / "open_clip"
        write_mobileclip(folder, config, NEUTRAL, seed)
        state = load_file(folder / WEIGHTS)
        for name in ("visual.trunk.head.bias", "visual.trunk.head.fc.bias"):
            if name in state:
                state[name].zero_()  # Apple's has no bias
        save_file(state, folder / WEIGHTS)
        content = families_mobileclip.apple_names(state)
        torch.save(content, path)
        restored = open_clip.convert.convert_state_dict(converted(config), dict(content))
        assert restored.keys() == state.keys()
        assert all(torch.equal(restored[name], state[name]) for name in state)

    return write


def converted(config: dict[str, Any]) -> Any:
    return open_clip.CustomTextCLIP(
        **{name: value for name, value in config.items() if name != "custom_text"}
    )


def read_apple_file(path: Path) -> Peer:
    """Load the file with open_clip, which converts its names."""
    folder = path.parent / "open_clip"
    model, transform = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    content = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(open_clip.convert.convert_state_dict(model, content), strict=True)
    return checkpoints.open_clip_peer(model.eval(), transform)
