"""Tiny CLIPs with a ConvNeXt of timm, in open_clip's layout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from tests.checkpoint import families
from tests.checkpoint.forms import (
    Tensors,
    open_clip_preprocess,
    open_clip_text,
    write_json,
)
from zeroshot.spec import ConvNeXtConfig, NetworkConfig, PreprocessConfig, Spec, TextConfig

TOWER = "convnext_test"
SHALLOW = ConvNeXtConfig(64, 8, (1, 2, 2, 1))
DEEP = replace(SHALLOW, deep_projection=True)
TEXT = TextConfig(12, 49408, 32, 1, 2, 128, "gelu")
SPECS = {
    "linear": Spec(NetworkConfig(24, SHALLOW, TEXT), PreprocessConfig(64)),
    "mlp": Spec(NetworkConfig(24, DEEP, TEXT), PreprocessConfig(64)),
}
NAMES = (
    ("visual.ln_post.", "visual.trunk.head.norm."),
    ("visual.hidden.", "visual.head.mlp.fc1."),
    ("visual.stem.", "visual.trunk.stem."),
    ("visual.stages.", "visual.trunk.stages."),
    (".down.", ".downsample."),
    (".conv.", ".conv_dw."),
    (".ln.", ".norm."),
    (".mlp.c_fc.", ".mlp.fc1."),
    (".mlp.c_proj.", ".mlp.fc2."),
)


def tensors_of(spec: Spec) -> Tensors:
    """Draw weights by this package's names."""
    tensors = families.tensors_of(spec)
    for name, tensor in tensors.items():
        if name.endswith(("ln.weight", "stem.1.weight", "down.0.weight")):
            tensor.mul_(0.1).add_(1.0)
    return tensors


def timm_tensors(tensors: Tensors, projection: str) -> Tensors:
    """Rename the image tower as timm and open_clip do; names of the text tower are CLIP's."""
    head = {"linear": "visual.head.proj.", "mlp": "visual.head.mlp.fc2."}[projection]
    renamed: Tensors = {}
    for name, tensor in tensors.items():
        theirs = name.removeprefix("text.")
        if name.startswith("visual."):
            theirs = theirs.replace("visual.proj.", head)
            for ours, other in NAMES:
                theirs = theirs.replace(ours, other)
        renamed[theirs] = tensor
    return renamed


def config_of(projection: str) -> dict[str, Any]:
    """Return the config with the fields of open_clip's configs of ConvNeXt."""
    spec = SPECS[projection]
    text = spec.network.text
    return {
        "model_cfg": {
            "embed_dim": spec.network.embed_dim,
            "vision_cfg": {
                "timm_model_name": TOWER,
                "timm_model_pretrained": False,
                "timm_pool": "",
                "timm_proj": projection,
                "timm_drop": 0.0,
                "timm_drop_path": 0.1,
                "image_size": spec.preprocess.size,
            },
            "text_cfg": open_clip_text(text),
        },
        "preprocess_cfg": open_clip_preprocess(spec),
    }


def write(folder: Path, projection: str, tensors: Tensors | None = None) -> Path:
    """Write a tiny CLIP with ConvNeXt as open_clip does."""
    if tensors is None:
        tensors = timm_tensors(tensors_of(SPECS[projection]), projection)
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "open_clip_model.safetensors", {"format": "pt"})
    write_json(folder / "open_clip_config.json", config_of(projection))
    return folder
