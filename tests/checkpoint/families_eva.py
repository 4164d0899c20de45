"""Tiny EVA-CLIP and MobileCLIP-B models in the layout of open_clip, with towers of timm."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from tests.checkpoint import families
from tests.checkpoint.forms import Tensors, write_json
from zeroshot.spec import NetworkConfig, PreprocessConfig, Spec, TextConfig, ViTConfig

EVA_02 = ViTConfig(  # B and L
    image_size=40,
    patch_size=8,
    width=64,
    layers=3,
    heads=4,
    mlp_width=84,
    activation="silu",
    eps=1e-6,
    patch_bias=True,
    pre_norm=False,
    projection="biased",
    rotary="yx",
    rotary_grid=16,
    gated_mlp=True,
    inner_norm=True,
)
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
EVA_01 = replace(
    EVA_02,
    mlp_width=160,
    activation="gelu",
    rotary="none",
    rotary_grid=0,
    gated_mlp=False,
    inner_norm=False,
)
EVA_02_E = replace(EVA_01, block_norm="output")
# Towers of the golden checkpoints, see tests/parity/make_fixtures.py.
GOLDEN = {
    "golden_eva02": replace(EVA_02, image_size=32, width=32, layers=2, heads=2, mlp_width=84),
    "golden_eva02_enormous": replace(
        EVA_02_E, image_size=28, patch_size=7, width=32, layers=2, heads=2, mlp_width=96
    ),
}
TEXT = TextConfig(12, 49408, 32, 1, 2, 128, "gelu")
TOWERS = {
    "eva02_tiny_patch8_clip_40": EVA_02,
    "eva_tiny_patch8": EVA_01,
    "eva02_tiny_enormous_patch8": EVA_02_E,
    "vit_tiny_mci": MOBILECLIP_B,
}


def spec_of(vision: ViTConfig) -> Spec:
    return Spec(NetworkConfig(24, vision, TEXT), PreprocessConfig(vision.image_size))


def tensors_of(spec: Spec) -> Tensors:
    """Draw weights; the biases of keys are zero in EVA's towers, which have none."""
    tensors = families.tensors_of(spec)
    width, stem = spec.network.vision.width, spec.network.vision.stem  # type: ignore[attr-defined]
    if stem != "patch":
        return tensors
    for name in tensors:
        if name.startswith("visual.transformer") and name.endswith("in_proj_bias"):
            tensors[name][width : 2 * width] = 0
    return tensors


def timm_tensors(tensors: Tensors, *, separate: bool) -> Tensors:
    """Rename as open_clip with timm; EVA-02 B and L have separate queries, keys and values."""
    if "visual.stem.conv1.weight" in tensors:
        return stem_tensors(tensors)
    renamed: Tensors = {}
    for name, tensor in families.timm_tensors(tensors).items():
        stem, _, rest = name.partition(".attn.")
        stem, parts = f"{stem}.attn.", tensor.chunk(3) if rest.startswith("qkv") else ()
        mlp = name.replace(".mlp.fc1.", ".mlp.fc1_x.") if separate else name
        if rest.startswith("ln."):
            renamed[f"{stem}norm.{rest[3:]}"] = tensor
        elif rest == "qkv.bias" and separate:
            renamed[f"{stem}q_proj.bias"] = parts[0].clone()
            renamed[f"{stem}v_proj.bias"] = parts[2].clone()
        elif rest == "qkv.bias":
            renamed[f"{stem}q_bias"] = parts[0].clone()
            renamed[f"{stem}v_bias"] = parts[2].clone()
        elif rest == "qkv.weight" and separate:
            for letter, part in zip("qkv", parts, strict=True):
                renamed[f"{stem}{letter}_proj.weight"] = part.clone()
        else:
            mlp = mlp.replace(".mlp.c_gate.", ".mlp.fc1_g.").replace(".mlp.ln.", ".mlp.norm.")
            renamed[mlp] = tensor
    return renamed


def stem_tensors(tensors: Tensors) -> Tensors:
    """Rename a tower with convolutions, whose queries, keys and values have one matrix."""
    stem = {name: tensor for name, tensor in tensors.items() if name.startswith("visual.stem.")}
    renamed = families.timm_tensors({n: t for n, t in tensors.items() if n not in stem})
    for name, tensor in stem.items():
        layer, leaf = name.removeprefix("visual.stem.").split(".")
        kind, number = layer.rstrip("123"), int(layer[-1]) - 1
        renamed[f"visual.trunk.patch_embed.backbone.{number}.{kind}.{leaf}"] = tensor
        if leaf == "running_var":
            counter = f"visual.trunk.patch_embed.backbone.{number}.bn.num_batches_tracked"
            renamed[counter] = torch.tensor(7)
    return renamed


def config(tower: str) -> dict[str, Any]:
    """Return open_clip's config of a tiny model."""
    document = families.open_clip_config(spec_of(TOWERS[tower]), tower)
    document["model_cfg"]["vision_cfg"] |= {"timm_pool": "token", "timm_proj": None}
    return document


def write(folder: Path, tower: str, tensors: Tensors) -> Path:
    """Write a checkpoint as open_clip does."""
    stored = timm_tensors(tensors, separate=TOWERS[tower].gated_mlp)
    save_file(stored, folder / "open_clip_model.safetensors", {"format": "pt"})
    write_json(folder / "open_clip_config.json", config(tower))
    return folder
