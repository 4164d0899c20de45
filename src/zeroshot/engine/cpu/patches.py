"""Turn pixels into tokens by linear layers.

A convolution whose stride equals its kernel size is a linear layer over square cells.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from zeroshot.engine.backend import Values
from zeroshot.engine.cpu.convolution import fold_batch_norm
from zeroshot.engine.cpu.linear import Linear
from zeroshot.spec import STEM_STRIDES, ViTConfig


class Patches:
    """Linear layers over nested square cells, which convolutions with stride = kernel size are.

    `sides` are the sides of the cells in pixels or cells of the layer before, from the first layer
    to the last. MobileCLIP-B has three layers: 4 pixels, then twice 2 cells. Values are put in
    order once, so that each layer reads consecutive values.
    """

    def __init__(self, layers: Sequence[Linear], sides: Sequence[int]) -> None:
        self.layers, self.sides = layers, sides

    def cut(self, pixels: Tensor) -> Tensor:
        """Order pixels by patch, cell, channel and place: [b, 3, s, s] to [b, p, values]."""
        b, c, s, _ = pixels.shape
        patch = math.prod(self.sides)
        side, outer = s // patch, self.sides[::-1]  # from the outer cells to the pixels
        pixels = pixels[..., : side * patch, : side * patch]
        cells = pixels.reshape(b, c, side, *outer, side, *outer)
        depth = len(outer)
        y, x = (range(2 + axis * (depth + 1), 3 + axis * (depth + 1) + depth) for axis in (0, 1))
        pairs = [place for pair in zip(y, x, strict=True) for place in pair]
        order = (0, *pairs[:-2], 1, *pairs[-2:])  # channels before the places in the inner cell
        return cells.permute(order).reshape(b, side * side, c * patch * patch)

    def __call__(self, patches: Tensor) -> Tensor:
        """Apply the layers: [b, p, values] to [b, p, w]."""
        b, p, size = patches.shape  # b may be 0, so no size is inferred
        cells, x = math.prod(side * side for side in self.sides[1:]), patches
        size //= cells
        for layer, side in zip(self.layers, (*self.sides[1:], 1), strict=True):
            x = layer(x.view(b, p * cells, size))
            cells //= side * side
            size = side * side * x.shape[-1]
        return x


def build_patches(config: ViTConfig, values: Values, dtype: torch.dtype) -> Patches:
    """Rewrite what turns pixels into tokens, with batch norms folded into the convolutions."""
    if config.stem == "patch":
        bias = values["conv1.bias"] if config.patch_bias else None
        layer = Linear(values["conv1.weight"].flatten(1), bias, dtype)
        return Patches([layer], [config.patch_size])
    stem = values.of("stem")
    layers: list[Linear] = []
    for number in (1, 2):
        folded = fold_batch_norm(stem.of(f"conv{number}"), stem.of(f"bn{number}"), torch.float32)
        weight = folded.weight if number == 1 else folded.weight.permute(0, 2, 3, 1)
        layers.append(Linear(weight.flatten(1), folded.bias, dtype, "gelu"))
    weight = stem["conv3.weight"].permute(0, 2, 3, 1)
    layers.append(Linear(weight.flatten(1), stem["conv3.bias"], dtype))
    return Patches(layers, STEM_STRIDES)
