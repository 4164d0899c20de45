"""Tiny EVA-CLIPs in the names of their original files."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.checkpoint import families, families_eva
from tests.checkpoint.forms import Tensors, write_json
from zeroshot.spec import NetworkConfig, PreprocessConfig, Spec, TextConfig

TOWERS = {  # of different shapes, as those of the published towers
    "eva02_tiny_patch8_clip_40": families_eva.EVA_02,
    "eva_tiny_patch8": families_eva.EVA_01,
    "eva02_tiny_enormous_patch8": replace(families_eva.EVA_02_E, mlp_width=192),
}
TEXT = TextConfig(12, 49408, 64, 1, 1, 256, "gelu")  # heads of 64 channels
SPECS = {
    name: Spec(NetworkConfig(24, vision, TEXT), PreprocessConfig(vision.image_size))
    for name, vision in TOWERS.items()
}
NAMES = (  # of timm -> the original ones
    (r"\.attn\.norm\.", ".attn.inner_attn_ln."),
    (r"\.attn\.([qv])_proj\.bias$", r".attn.\1_bias"),
    (r"\.mlp\.norm\.", ".mlp.ffn_ln."),
    (r"\.mlp\.fc1_g\.", ".mlp.w1."),
    (r"\.mlp\.fc1_x\.", ".mlp.w2."),
)


def own_names(tensors: Tensors) -> Tensors:
    """Rename tensors of open_clip's layout; towers with rotary positions store their tables."""
    gated = any(".mlp.fc1_g." in name for name in tensors)
    renamed: Tensors = {}
    for name, tensor in tensors.items():
        if name.startswith("visual.trunk."):
            name = name.replace("visual.trunk.", "visual.")
            for theirs, ours in NAMES:
                name = re.sub(theirs, ours, name)
            if gated:
                name = name.replace(".mlp.fc2.", ".mlp.w3.")
        renamed[name] = tensor
    if gated:
        modules = [
            name.partition("q_proj.weight")[0] for name in renamed if "q_proj.weight" in name
        ]
        for module in ("visual.", *modules):
            for kind in ("cos", "sin"):
                renamed[f"{module}rope.freqs_{kind}"] = torch.full((25, 16), 0.5)
    return renamed


def open_clip_tensors(tower: str) -> Tensors:
    tensors = families_eva.tensors_of(SPECS[tower])
    return families_eva.timm_tensors(tensors, separate=TOWERS[tower].gated_mlp)


def write_open_clip(folder: Path, tower: str) -> Path:
    """Write the same model as open_clip does."""
    spec = SPECS[tower]
    document = families.open_clip_config(spec, tower)
    document["model_cfg"]["vision_cfg"] |= {"timm_pool": "token", "timm_proj": None}
    folder.mkdir(exist_ok=True)
    save_file(open_clip_tensors(tower), folder / "open_clip_model.safetensors", {"format": "pt"})
    write_json(folder / "open_clip_config.json", document)
    return folder


def write(path: Path, tower: str, tensors: Tensors | None = None) -> Path:
    """Write a file as QuanSun/EVA-CLIP contains."""
    torch.save(own_names(open_clip_tensors(tower)) if tensors is None else tensors, path)
    return path
