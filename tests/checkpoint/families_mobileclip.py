"""Tiny MobileCLIPs in the names of Apple's own files, and in those of open_clip."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.checkpoint import families, families_eva, families_fastvit
from tests.checkpoint.forms import Tensors, write_json
from zeroshot.spec import NetworkConfig, Spec, TextConfig

# Causal only with the vision transformer; heads of 64 channels, because a file does not say theirs.
TEXT = TextConfig(12, 49408, 64, 2, 1, 256, "gelu")
PREPROCESS = families_fastvit.BLACK_TO_ONE
SPECS = {  # timm's name of the image tower -> the model
    "fastvit_test_small": Spec(
        NetworkConfig(24, families_fastvit.SMALL, replace(TEXT, causal=False)), PREPROCESS
    ),
    "vit_tiny_mci": Spec(
        NetworkConfig(24, families_eva.MOBILECLIP_B, TEXT), replace(PREPROCESS, size=48)
    ),
}
VIT = "vit_tiny_mci"
STAGES = 4
NAMES = (  # of timm and open_clip -> Apple's, below the prefix of a tower
    (r"\.(ln_1|norm1)\.", ".pre_norm_mha.0."),
    (r"\.attn\.(in_proj_|qkv\.)", ".pre_norm_mha.1.qkv_proj."),
    (r"\.attn\.(out_proj|proj)\.", ".pre_norm_mha.1.out_proj."),
    (r"\.(ln_2|norm2)\.", ".pre_norm_ffn.0."),
    (r"\.mlp\.(c_fc|fc1)\.", ".pre_norm_ffn.1."),
    (r"\.mlp\.(c_proj|fc2)\.", ".pre_norm_ffn.4."),
    (r"^transformer\.resblocks\.", "transformer."),
    (r"^token_embedding\.", "embedding_layer."),
    (r"^positional_embedding$", "positional_embedding.pos_embed.pos_embed"),
    (r"^ln_final\.", "final_layer_norm."),
    (r"^text_projection$", "projection_layer"),
    (r"^blocks\.", "transformer."),
    (r"^patch_embed\.backbone\.(\d)\.conv\.", r"patch_emb.\1.block.conv."),
    (r"^patch_embed\.backbone\.(\d)\.bn\.", r"patch_emb.\1.block.norm."),
    (r"^pos_embed$", "pos_embed.pos_embed.pos_embed"),
    (r"^norm\.", "post_transformer_norm."),
    (r"^head\.weight$", "classifier.proj"),
    (r"^head\.fc\.weight$", "head.proj"),
    (r"^stem\.", "patch_embed."),
    (r"^final_conv\.", "conv_exp."),
    (r"\bconv_kxk\b", "rbr_conv"),
    (r"\bconv_scale\b", "rbr_scale"),
    (r"\bidentity\b", "rbr_skip"),
    (r"\blarge_conv\b", "lkb_origin"),
    (r"\bse\.fc1\b", "se.reduce"),
    (r"\bse\.fc2\b", "se.expand"),
    (r"\.gamma$", ""),
)


def open_clip_tensors(tower: str) -> Tensors:
    """Return the tensors in open_clip's layout; the projection of Apple's images has no bias."""
    spec = SPECS[tower]
    if tower == VIT:
        drawn = families_eva.tensors_of(spec)
        image = {name: each for name, each in drawn.items() if name.startswith("visual.")}
        tensors = drawn | families_eva.timm_tensors(image, separate=False)
        tensors = {name: each for name, each in tensors.items() if name not in image}
    else:
        trained = families_fastvit.trained(families_fastvit.SMALL)
        tensors = families_fastvit.tensors_of(spec, trained)
    for name in ("visual.trunk.head.bias", "visual.trunk.head.fc.bias"):
        if name in tensors:
            tensors[name] = torch.zeros_like(tensors[name])
    return tensors


def apple_names(tensors: Tensors) -> Tensors:
    """Rename tensors of open_clip's layout as apple/ml-mobileclip does."""
    renamed: Tensors = {}
    for name, tensor in tensors.items():
        if name.endswith(("head.bias", "head.fc.bias")):
            continue
        if name.startswith("visual.trunk."):
            prefix, name = "image_encoder.model.", network_name(name.removeprefix("visual.trunk."))
        elif name.startswith("text."):
            prefix, name = "text_encoder.", name.removeprefix("text.")
        else:
            prefix = ""
        for theirs, apples in NAMES if prefix else ():
            name = re.sub(theirs, apples, name)
        if "pos_embed" in name:
            tensor = tensor.reshape(1, 1, *tensor.shape[-2:])
        elif name in ("head.proj", "classifier.proj"):
            tensor = tensor.T.contiguous()
        renamed[prefix + name] = tensor
    return renamed


def network_name(name: str) -> str:
    """Return a name in the one sequence of modules that all stages form."""
    found = re.match(r"stages\.(\d)\.(blocks|downsample\.proj|pos_emb\.pos_enc)\.", name)
    if not found:
        return name
    stage, rest = int(found[1]), name[found.end() :].replace("mlp.", "convffn.")
    match found[2]:
        case "downsample.proj":
            return f"network.{2 * stage - 1}.proj.{rest}"
        case "pos_emb.pos_enc":
            return f"network.{2 * stage}.pe.{rest}"
    return f"network.{2 * stage + (stage == STAGES - 1)}.{rest}"  # behind the positions


def write_open_clip(folder: Path, tower: str) -> Path:
    """Write the same model as open_clip does."""
    spec = SPECS[tower]
    if tower == VIT:
        document = families.open_clip_config(spec, tower)
        document["model_cfg"]["vision_cfg"] |= {"timm_pool": "token", "timm_proj": None}
    else:
        document = families_fastvit.config_of(spec, tower)
    folder.mkdir(exist_ok=True)
    save_file(open_clip_tensors(tower), folder / "open_clip_model.safetensors", {"format": "pt"})
    write_json(folder / "open_clip_config.json", document)
    return folder


def write(path: Path, tower: str, tensors: Tensors | None = None) -> Path:
    """Write a file as Apple does."""
    torch.save(apple_names(open_clip_tensors(tower)) if tensors is None else tensors, path)
    return path
