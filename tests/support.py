"""Helpers of several test files: a tiny model, a fake encoder, images, child processes."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import pytest
import torch
from click.testing import Result
from numpy.typing import NDArray
from PIL import Image

from zeroshot import lookahead
from zeroshot.classifier import Classifier
from zeroshot.errors import ImageError
from zeroshot.head import Head
from zeroshot.images import open_image
from zeroshot.images.preprocess import Preprocess
from zeroshot.nn.network import Network
from zeroshot.spec import NetworkConfig, PreprocessConfig, Spec, TextConfig, ViTConfig

Value = TypeVar("Value")

TINY_SEED = 20_261_122
TINY_SIZE = 32  # pixels
TINY_MERGES = 2_000
COLORS = {"red": (250, 5, 5), "green": (5, 250, 5), "blue": (5, 5, 250)}
NAMES = {"red": "rrrr", "green": "gggg", "blue": "bbbb"}  # what the fake encoder sees colors in
MIXED = ["blue", "red", "red", "green", "blue", "green", "red"] * 11
HUB_COMMIT = "0123456789abcdef0123456789abcdef01234567"


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
    """Embeds a sentence by its letters and an image by its mean color; three dimensions."""

    identity = "fake"
    source = None
    logit_scale = 10.0
    logit_bias = None
    scoring: Literal["softmax"] = "softmax"
    is_busy = False
    map_batches = staticmethod(lookahead.embed_batches)

    def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
        rows = [[1 + t.count("r"), 1 + t.count("g"), 1 + t.count("b")] for t in texts]
        return torch.nn.functional.normalize(torch.tensor(rows, dtype=torch.float32), dim=1)

    def prepare(self, image: Any) -> NDArray[np.float32]:
        return Preprocess(2, mean=(0, 0, 0), std=(1, 1, 1))(image)

    def encode_pixels(self, pixels: Any, **options: Any) -> torch.Tensor:
        means = torch.as_tensor(pixels).mean(dim=(2, 3))
        return torch.nn.functional.normalize(means + 1e-3, dim=1)


def flat(color: str, size: int = 8) -> Image.Image:
    """Return an image of one of COLORS."""
    return Image.new("RGB", (size, size), COLORS[color])


def axes_classifier(labels: Sequence[str], scale: float = 4.0, **facts: Any) -> Classifier:
    """Return a classifier whose labels are the axes of the embeddings: logit = scale * value."""
    names = tuple(labels)
    head = Head(
        labels=names,
        weight=torch.eye(len(names)),
        logit_scale=scale,
        logit_bias=None,
        model="fake",
        names=tuple((name,) for name in names),
        templates=("{}",),
        prompts="plain",
    )
    return Classifier(FakeEncoder(), replace(head, **facts))


def one_hot(columns: Sequence[int], labels: int) -> NDArray[np.float32]:
    """Return embeddings of `axes_classifier` whose answers are these columns: [n, labels]."""
    return np.eye(labels, dtype=np.float32)[list(columns)]


def photograph(width: int = 61, height: int = 47, seed: int = 0) -> NDArray[np.uint8]:
    """Draw smooth shades with some grain: uint8 [height, width, 3]."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (5 + 9 * a) + y / (7 + 5 * b)) for a, b in random.random((3, 2))]
    grain = random.integers(-9, 10, (height, width, 3))
    return (128 + 100 * np.stack(waves, axis=2) + grain).clip(0, 255).astype(np.uint8)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Return an image as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def image_files() -> dict[str, bytes]:
    """Return one image file of each format."""
    image = Image.fromarray(photograph(160, 120))
    frames = [Image.fromarray(photograph(160, 120, seed)) for seed in (1, 2)]
    return {
        "JPEG": encoded(image, "JPEG"),
        "progressive": encoded(image, "JPEG", progressive=True),
        "PNG": encoded(image, "PNG"),
        "GIF": encoded(image, "GIF", save_all=True, append_images=frames),
        "WEBP": encoded(image, "WEBP"),
        "BMP": encoded(image, "BMP"),
        "TIFF": encoded(image, "TIFF"),
        "PPM": encoded(image, "PPM"),
        "AVIF": encoded(image, "AVIF"),
    }


def pixels_of(source: Any, **options: Any) -> NDArray[np.uint8]:
    """Open an image: uint8 [height, width, 3]."""
    return np.asarray(open_image(source, **options))


def image_error_of(source: Any) -> ImageError:
    """Return the ImageError that opening an image raises."""
    with pytest.raises(ImageError) as caught:
        open_image(source)
    return caught.value


def json_lines(result: Result) -> list[dict[str, Any]]:
    """Parse the JSON lines that a command printed."""
    return [json.loads(line) for line in result.stdout.splitlines()]


def succeeds_in_child(work: Callable[[], object], seconds: int = 30) -> bool:
    """Return whether a function returns in a forked child, within a time limit."""
    child = os.fork()
    if not child:
        signal.alarm(seconds)  # ends the child
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 0


def in_threads(work: Callable[[], Value], count: int = 6) -> list[Value]:
    """Call a function in several threads at once; return the results."""
    with ThreadPoolExecutor(count) as pool:
        return [future.result() for future in [pool.submit(work) for _ in range(count)]]


def start_cli(*arguments: str | Path, environment: dict[str, str], **options: Any) -> Any:
    """Start the command line in a child process, with pipes for its output."""
    return subprocess.Popen(
        [sys.executable, "-m", "zeroshot", *map(str, arguments)],
        env=environment,
        text=True,
        stdin=options.pop("stdin", subprocess.DEVNULL),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


def run_python(code: str, *options: str) -> str:
    """Run code in a child process that must print nothing to stderr; return its output."""
    done = subprocess.run(
        [sys.executable, *options, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def fill_hub_cache(cache: Path, repository: str, files: dict[str, bytes]) -> dict[str, Path]:
    """Store files in a cache as huggingface_hub does; return the blobs."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    snapshot, blobs = folder / "snapshots" / HUB_COMMIT, folder / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    made = {}
    for name, content in files.items():
        if name.endswith(".json"):
            digest = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        else:
            digest = hashlib.sha256(content).hexdigest()
        made[name] = blobs / digest
        made[name].write_bytes(content)
        (snapshot / name).symlink_to(f"../../blobs/{digest}")
    return made
