"""List the towers that have a version for GPUs.

The table contains, for the type of a tower's configuration, a function that rewrites its
plain module. It takes the configuration, the module on its device, and the float32 values. A tower
that is not in the table runs as the plain module of `zeroshot.nn`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from zeroshot.engine.backend import Values
from zeroshot.engine.cuda.text import rewrite_bert, rewrite_text
from zeroshot.engine.cuda.vision import count_values, rewrite_vision
from zeroshot.spec import BertConfig, TextConfig, ViTConfig

VALUES_PER_PIXEL_VALUE = 64  # of activations of a convolutional tower, an upper estimate

CUDA_TOWERS: dict[type[Any], Callable[[Any, Any, Values], nn.Module]] = {
    ViTConfig: rewrite_vision,
    TextConfig: rewrite_text,
    BertConfig: rewrite_bert,
}
# Towers whose activations are counted; those of others are estimated.
IMAGE_VALUES: dict[type[Any], Callable[[Any], int]] = {ViTConfig: count_values}


def count_image_values(config: Any) -> int:
    """Estimate how many values of activations one image needs at once."""
    if count := IMAGE_VALUES.get(type(config)):
        return count(config)
    return VALUES_PER_PIXEL_VALUE * 3 * int(config.image_size) ** 2
