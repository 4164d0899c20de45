"""Run every stage on stored inputs and compare it with the reference packages.

The inputs and the weights of three tiny networks are computed with integer arithmetic, so they are
identical on all machines. The expected outputs in reference.json are from openai/CLIP, open_clip
and torchvision (scripts/make_reference.py). The towers run in Engine, as in production.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from zeroshot.checkpoint.weights import Weights, on_meta
from zeroshot.engine import Engine
from zeroshot.images.preprocess import Preprocess
from zeroshot.nn.network import Network
from zeroshot.resources import PACKAGE
from zeroshot.spec import NetworkConfig, ResNetConfig, TextConfig, ViTConfig
from zeroshot.tokenizers import ClipTokenizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

GRAY_LEVELS = 1.01  # allowed difference between versions of Pillow
# Allowed distance from the reference; embeddings have unit length.
TOLERANCE = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 8e-2}
IMAGE_SIZE = (97, 61)  # width, height
VOCABULARY, CONTEXT = 300, 16  # of the tiny text towers
TEXT_LENGTHS = (3, 16, 7, 9)
IMAGES = 3
BLOCK = 8  # side in pixels of the squares of one color


@dataclass(frozen=True)
class Finding:
    """The result of one stage."""

    stage: str
    measured: str  # a description of the difference from the reference
    problem: str = ""  # empty if the stage is correct


# ---- computed inputs


def noise(name: str, count: int) -> NDArray[np.float64]:
    """Return `count` numbers in [-1, 1) that depend only on the name (splitmix64)."""
    seed = np.uint64(zlib.crc32(name.encode()) << 32)
    with np.errstate(over="ignore"):
        x = (np.arange(1, count + 1, dtype=np.uint64) + seed) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    whole = (x >> np.uint64(40)).astype(np.float64)  # 24 bits are exact in float32
    return whole / 2**23 - 1


def weights(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Compute the weights of a network from its tensor names and shapes."""
    return {name: torch.from_numpy(_weight(name, shape)) for name, shape in shapes.items()}


def _weight(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    values = noise(name, int(np.prod(shape, dtype=np.int64))).reshape(shape)
    if name == "logit_scale":
        values = values + 3
    elif name.endswith("running_var"):
        values = 1 + values / 2
    elif name.endswith("embedding") or "token_embedding" in name:
        pass
    elif len(shape) > 1:
        fan_in = np.prod(shape[1:])
        values = values * 1.5 * np.sqrt(3 / fan_in)
    elif name.endswith("weight"):
        values = 1 + values / 5
    else:
        values = values / 10
    return np.asarray(values, dtype=np.float32)


def sample_image() -> Image.Image:
    """Draw the image for the resize: a gradient, stripes, a disc and noise."""
    width, height = IMAGE_SIZE
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    slope = np.stack([x * 255 // (width - 1), y * 255 // (height - 1), (x + y) % 256], axis=2)
    slope[(x // 3 + y // 5) % 4 == 0] //= 3
    slope[(x - 60) ** 2 + (y - 25) ** 2 < 15**2] = (250, 10, 40)
    grain = np.round(20 * noise("picture", slope.size)).astype(int).reshape(slope.shape)
    return Image.fromarray(np.clip(slope + grain, 0, 255).astype(np.uint8))


def pixels(size: int) -> Tensor:
    """Compute normalized pixels, float32 [n, 3, size, size], of colored squares."""
    places = size // BLOCK
    squares = noise(f"pixels {size}", IMAGES * 3 * places * places)
    squares = 2 * squares.reshape(IMAGES, 3, places, places)
    whole = squares.repeat(BLOCK, axis=2).repeat(BLOCK, axis=3)
    return torch.from_numpy(whole.astype(np.float32))


def rows() -> list[list[int]]:
    """Compute token ids of several lengths for the tiny text towers."""
    made = []
    for n, length in enumerate(TEXT_LENGTHS):
        inner = (noise(f"row {n}", length - 2) + 1) / 2 * (VOCABULARY - 2)
        made.append([VOCABULARY - 2, *map(int, inner), VOCABULARY - 1])
    return made


def _text(width: int, heads: int, activation: Any) -> TextConfig:
    return TextConfig(CONTEXT, VOCABULARY, width, 2, heads, 4 * width, activation)


NETWORKS = {
    "ViT, QuickGELU": NetworkConfig(
        32, ViTConfig(32, 8, 128, 2, 2, 512, "quick_gelu"), _text(64, 1, "quick_gelu")
    ),
    "ViT, GELU, heads of 24": NetworkConfig(
        24, ViTConfig(48, 16, 96, 2, 4, 384, "gelu"), _text(48, 2, "gelu")
    ),
    "ResNet": NetworkConfig(20, ResNetConfig(64, 6, (2, 1, 1, 1), 3), _text(64, 2, "quick_gelu")),
}


def network(config: NetworkConfig) -> Network:
    """Build a network with the computed weights."""
    made = on_meta(config)
    shapes = {name: tuple(tensor.shape) for name, tensor in made.state_dict().items()}
    counters = {name for name in shapes if name.endswith("num_batches_tracked")}
    state = weights({name: shape for name, shape in shapes.items() if name not in counters})
    state |= {name: torch.zeros((), dtype=torch.long) for name in counters}
    made.load_state_dict(state, assign=True)
    return made


# ---- stages


@cache
def reference() -> dict[str, Any]:
    """Read the stored outputs of the reference packages."""
    document: dict[str, Any] = json.loads((PACKAGE / "reference.json").read_text("utf-8"))
    return document


def stages(device: torch.device, dtype: torch.dtype) -> Iterator[Finding]:
    """Run all stages: tokenizer, resize, and both towers of each network.

    The towers run on `device`, in float32 and also in `dtype` if it is different.
    """
    yield _guarded("tokenizer", _tokenizer)
    for way in reference()["resize"]:
        yield _guarded(f"resize ({way['name']})", partial(_resize, way))
    for precision in dict.fromkeys((torch.float32, dtype)):
        for name in NETWORKS:
            for tower in ("image", "text"):
                where = f"{device.type}, {str(precision).removeprefix('torch.')}"
                yield _guarded(
                    f"{tower} tower ({name}; {where})",
                    partial(_tower, name, tower, device, precision),
                )


def _guarded(stage: str, run: Callable[[], tuple[str, str]]) -> Finding:
    """Run a stage; an exception is reported as a problem, and other stages still run."""
    try:
        measured, problem = run()
    except Exception as error:
        return Finding(stage, "raised", f"{type(error).__name__}: {error}")
    return Finding(stage, measured, problem)


def _tokenizer() -> tuple[str, str]:
    stored = reference()["tokenizer"]
    tokenizer = ClipTokenizer()
    for text, ids in stored["texts"].items():
        found = [int(i) for i in tokenizer.encode(text)]
        if found != ids:
            return (
                "differs",
                f"{text!r}: expected ids {ids} as from OpenAI's tokenizer, got {found}",
            )
    text, ids = stored["long"]
    found = tokenizer.rows([text], truncate=True)[0]
    if [int(i) for i in found] != ids:
        return (
            "differs",
            f"truncation of a long text differs from OpenAI's: expected {ids}, got {found}",
        )
    return f"{len(stored['texts']) + 1} texts, all ids equal", ""


def _resize(way: dict[str, Any]) -> tuple[str, str]:
    size, mean, std = way["size"], np.array(way["mean"]), np.array(way["std"])
    expected = np.frombuffer(base64.b64decode(way["levels"]), np.uint8).reshape(size, size, 3)
    preprocess = Preprocess(size, tuple(mean), tuple(std), way["interpolation"], way["resize_mode"])
    found = (preprocess(sample_image()).transpose(1, 2, 0) * std + mean) * 255
    error = float(np.abs(found - expected).max())
    measured = f"largest difference {error:.2f} gray levels"
    return measured, "" if error <= GRAY_LEVELS else f"{measured}, allowed are {GRAY_LEVELS}"


def _tower(name: str, tower: str, device: torch.device, dtype: torch.dtype) -> tuple[str, str]:
    config = NETWORKS[name]
    expected = torch.tensor(reference()["towers"][name][tower])
    weights = Weights.of_network(network(config), config)
    engine = Engine(weights, config, device, dtype)
    if tower == "image":
        # the last batch is smaller, as in production
        found = engine.encode_pixels(pixels(config.vision.image_size), batch_size=2)
    else:
        found = engine.encode_ids(rows(), batch_size=3)
    error = _distance(found.float().cpu(), expected)
    limit = TOLERANCE[str(dtype).removeprefix("torch.")]
    measured = f"differs by {error:.0e} of an embedding's length, limit {limit:.0e}"
    if error <= limit:
        return measured, ""
    plain = _distance(_plain(config, tower), expected)
    cause = (
        f"the plain network is correct ({plain:.0e}), so the engine on {device.type} is wrong"
        if plain <= TOLERANCE["float32"]
        else f"the plain network is wrong too ({plain:.0e})"
    )
    return measured, f"{measured}; {cause}"


@torch.inference_mode()
def _plain(config: NetworkConfig, tower: str) -> Tensor:
    """Run a tower without the engine: on the CPU, in float32, one input at a time."""
    made = network(config)
    if tower == "image":
        parts = [made.visual(each[None]) for each in pixels(config.vision.image_size)]
    else:
        parts = [made.text(torch.tensor([row])) for row in rows()]
    return F.normalize(torch.cat(parts), dim=-1)


def _distance(found: Tensor, expected: Tensor) -> float:
    """Return the largest distance between corresponding rows; infinity for NaN."""
    distances = (found - expected).norm(dim=-1)
    return float(distances.nan_to_num(nan=float("inf")).max())
