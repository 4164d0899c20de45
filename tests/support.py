"""What most tests need: the parts of a tiny model, a fake encoder, and pictures."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from zeroshot import pipeline
from zeroshot.images.preprocess import Preprocess
from zeroshot.nn.network import Network
from zeroshot.spec import NetworkConfig, PreprocessConfig, Spec, TextConfig, ViTConfig

TINY_SEED = 20_261_122
TINY_SIZE = 32  # pixels
TINY_MERGES = 2_000


def tiny_spec(merges: int = TINY_MERGES) -> Spec:
    vision = ViTConfig(TINY_SIZE, 8, 32, 2, 2, 128, "quick_gelu")
    text = TextConfig(77, 512 + merges + 2, 32, 2, 2, 128, "quick_gelu")
    return Spec(NetworkConfig(16, vision, text), PreprocessConfig(TINY_SIZE), merges)


def tiny_tensors(spec: Spec, seed: int = TINY_SEED) -> dict[str, torch.Tensor]:
    """Draw weights so large that different inputs get clearly different embeddings."""
    random = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        shapes = Network(spec.network).state_dict()
    tensors = {}
    for name, shape in shapes.items():
        values = torch.randn(shape.shape, generator=random)
        if name == "logit_scale":
            values = torch.tensor(3.0)
        elif ".ln_" in name:
            values = 0.2 * values + (1 if name.endswith("weight") else 0)
        elif shape.ndim >= 2 and "embedding" not in name:
            values *= 1.5 / shape[0].numel() ** 0.5
        tensors[name] = values
    return tensors


class FakeEncoder:
    """Embeds a sentence by its letters and an image by its mean colour; three dimensions."""

    identity = "fake"
    logit_scale = 10.0
    logit_bias = None
    scoring = "softmax"
    map_batches = staticmethod(pipeline.embed_batches)

    def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
        rows = [[1 + t.count("r"), 1 + t.count("g"), 1 + t.count("b")] for t in texts]
        return torch.nn.functional.normalize(torch.tensor(rows, dtype=torch.float32), dim=1)

    def prepare(self, image: Any) -> NDArray[np.float32]:
        return Preprocess(2, mean=(0, 0, 0), std=(1, 1, 1))(image)

    def encode_pixels(self, pixels: Any, **options: Any) -> torch.Tensor:
        means = torch.as_tensor(pixels).mean(dim=(2, 3))
        return torch.nn.functional.normalize(means + 1e-3, dim=1)


def photograph(width: int = 61, height: int = 47, seed: int = 0) -> NDArray[np.uint8]:
    """Draw smooth shades with some grain: uint8 [height, width, 3]."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (5 + 9 * a) + y / (7 + 5 * b)) for a, b in random.random((3, 2))]
    grain = random.integers(-9, 10, (height, width, 3))
    return (128 + 100 * np.stack(waves, axis=2) + grain).clip(0, 255).astype(np.uint8)


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    """Return a picture as the bytes of a file."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()
