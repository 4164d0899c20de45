"""Write both encoders to one small file, with large tables as int8 and the rest as float16."""

import math
from pathlib import Path

import torch
from student import CONFIG
from teacher import EMBED_DIM
from torch import Tensor

from zeroshot.checkpoint.layouts import native
from zeroshot.images.preprocess import Preprocess
from zeroshot.nn.conse import ConSETower
from zeroshot.nn.text_transformer import TextTransformer
from zeroshot.spec import ConSEConfig, NetworkConfig, Spec

LARGE = 100_000  # values; smaller filters stay float16, at little cost


def spec(vision: ConSEConfig) -> Spec:
    """Return the spec of the checkpoint; EfficientNet-Lite expects (value - 127) / 128."""
    preprocess = Preprocess(
        vision.image_size, mean=(127 / 255,) * 3, std=(128 / 255,) * 3, interpolation="bicubic"
    )
    return Spec(NetworkConfig(EMBED_DIM, vision, CONFIG), preprocess)


def write(
    path: Path,
    visual: ConSETower,
    text: TextTransformer,
    logit_scale: float,
    vision: ConSEConfig,
    *,
    whole: bool = False,
) -> None:
    """Write the checkpoint in the package's own format; `whole` keeps float32."""
    tensors = {f"visual.{name}": tensor for name, tensor in visual.state_dict().items()}
    tensors |= {f"text.{name}": tensor for name, tensor in text.state_dict().items()}
    stored = {"logit_scale": torch.tensor(math.log(logit_scale))}
    for name, tensor in tensors.items():
        stored |= {name: tensor} if whole else _rounded(name, tensor)
    native.save(path, "mini", spec(vision), stored)


def _rounded(name: str, tensor: Tensor) -> dict[str, Tensor]:
    """Store large tables as int8 with one scale per row; text blocks would lose accuracy."""
    pays = name.startswith(("text.token_embedding", "visual.classifier"))
    if tensor.numel() < LARGE or not pays:
        return {name: tensor.half()}
    rows = tensor.flatten(1)
    scale = rows.abs().amax(dim=1).clamp(min=1e-8) / 127  # [rows]
    whole = (rows / scale[:, None]).round().to(torch.int8).view(tensor.shape)
    return {name: whole, f"{name}.scale": scale}
