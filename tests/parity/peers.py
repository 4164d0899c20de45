"""The reference implementations: OpenAI's clip, open_clip, transformers.

Requires the environment created by environment.sh.
"""

from __future__ import annotations

import logging
import sys
import types
import warnings
from collections.abc import Callable
from importlib.metadata import version

import numpy as np
import packaging.version
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

# clip/clip.py imports packaging from pkg_resources, which setuptools 70 removed. The pinned torch
# requires a newer setuptools.
_pkg_resources = types.ModuleType("pkg_resources")
_pkg_resources.packaging = packaging  # type: ignore[attr-defined]
sys.modules["pkg_resources"] = _pkg_resources

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import clip
    import open_clip
    import transformers
    from clip.model import CLIP as OpenAIClip
    from clip.model import build_model, convert_weights
    from clip.simple_tokenizer import SimpleTokenizer
    from open_clip.transform import PreprocessCfg, image_transform_v2

# clip/__init__ exports a function `clip.clip`; the transform is private to its module.
openai_transform = sys.modules["clip.clip"]._transform
logging.getLogger().setLevel(logging.ERROR)
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

__all__ = [
    "OPENAI_MEAN",
    "OPENAI_STD",
    "OpenAIClip",
    "SimpleTokenizer",
    "build_model",
    "clip",
    "convert_weights",
    "gray_levels",
    "open_clip",
    "open_clip_transform",
    "openai_transform",
    "release",
    "rgb_first",
    "transformers",
]

Transform = Callable[..., torch.Tensor]  # image to pixels
OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)


def release(distribution: str) -> str:
    """Return the name and version of an installed package."""
    return f"{distribution} {version(distribution)}"


def open_clip_transform(
    size: int,
    *,
    mean: tuple[float, ...] = OPENAI_MEAN,
    std: tuple[float, ...] = OPENAI_STD,
    interpolation: str = "bicubic",
    resize_mode: str = "shortest",
) -> Transform:
    """Return open_clip's evaluation transform for a checkpoint with this preprocess_cfg."""
    config = PreprocessCfg(
        size=size, mean=mean, std=std, interpolation=interpolation, resize_mode=resize_mode
    )
    transform: Transform = image_transform_v2(config, is_train=False)
    return transform


def rgb_first(transform: Transform, image: Image.Image) -> torch.Tensor:
    """Apply a reference's transform to the upright RGB image, the order of zeroshot."""
    return transform(ImageOps.exif_transpose(image).convert("RGB"))


def gray_levels(
    pixels: torch.Tensor,
    mean: tuple[float, ...] = OPENAI_MEAN,
    std: tuple[float, ...] = OPENAI_STD,
) -> NDArray[np.uint8]:
    """Undo the normalization: float [3, s, s] to the original uint8 [s, s, 3]."""
    levels = pixels * torch.tensor(std)[:, None, None] + torch.tensor(mean)[:, None, None]
    levels = levels * 255
    assert (levels - levels.round()).abs().max() < 0.01, "the pixels are not integer gray levels"
    return levels.round().to(torch.uint8).permute(1, 2, 0).numpy()
