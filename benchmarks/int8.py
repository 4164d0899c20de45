"""Measure int8: accuracy on the embedded model, speed on this CPU.

Not part of `make bench`. zeroshot does not support int8; that decision is based on these results.
Weights are quantized to int8 with one scale per row. Activations are quantized dynamically: with
one scale per batch, as torch's int8 operators require, or with one per token, which they do not
support. Accuracy is measured with the embedded model's text encoder on sentences about ImageNet
classes.
"""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from unittest import mock

import torch
from torch import Tensor
from torch.nn import functional as F

import zeroshot
from zeroshot import prompts
from zeroshot.diagnostics.bench import BASE, alternate, machine
from zeroshot.engine import Engine
from zeroshot.engine.cpu.linear import Linear
from zeroshot.spec import ViTConfig

LEVELS = 127  # int8 levels on either side of zero
ROWS = 400  # tokens of eight images, the batch of one worker
SAMPLE = 200  # labels
plain_linear = F.linear


def rounded(x: Tensor, *, rows: bool) -> Tensor:
    """Round to multiples of 1/127 of the largest value, per row or overall."""
    largest = x.abs().amax(dim=-1, keepdim=True) if rows else x.abs().max()
    scale = largest.clamp(min=1e-12) / LEVELS
    return (x / scale).round() * scale


def quantized(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, rows: bool) -> Tensor:
    """Replace `F.linear`: results of int8 arithmetic, computed in float32."""
    return plain_linear(rounded(x, rows=rows), rounded(weight, rows=True), bias)


@torch.inference_mode()
def agreement() -> None:
    """Print cosines between int8 and float32 text embeddings of the embedded model."""
    model = zeroshot.load("mini", device="cpu", dtype="float32")
    config, cpu = model.spec.network, torch.device("cpu")
    engine = Engine(model.checkpoint.weights, config, cpu, torch.float32, plain=True)
    labels = [names[0] for names in prompts.labels("imagenet").values()][:SAMPLE]
    templates = prompts.get("imagenet7").templates
    ids = model.tokenizer.rows([t.replace("{}", label) for t in templates for label in labels])
    wanted = engine.encode_ids(ids)
    center = wanted.mean(dim=0)
    for what, rows in (("one scale per batch", False), ("one scale per token", True)):
        with mock.patch("torch.nn.functional.linear", partial(quantized, rows=rows)):
            found = engine.encode_ids(ids)
        least = float((found * wanted).sum(dim=1).min())
        apart = float(F.cosine_similarity(found - center, wanted - center).min())
        print(f"{what}: lowest cosine {least:.5f}, centered {apart:.5f}, {len(ids)} sentences")


class Int8:
    """A linear layer with oneDNN's int8 kernel and dynamic quantization of its input."""

    def __init__(self, weight: Tensor, bias: Tensor, fused: str) -> None:
        self.scales = weight.abs().amax(dim=1) / LEVELS
        levels = (weight / self.scales[:, None]).round().to(torch.int8)
        self.weight = torch.ops.onednn.qlinear_prepack(levels, [ROWS, weight.shape[1]])
        self.zeros = torch.zeros(len(weight), dtype=torch.int32)
        self.bias, self.fused = bias, fused

    def __call__(self, x: Tensor) -> Tensor:
        scale = float(x.abs().max()) / LEVELS
        levels = torch.quantize_per_tensor(x.float(), scale, LEVELS + 1, torch.quint8).int_repr()
        result: tuple[object, ...] = (1.0, 0, torch.bfloat16, self.fused, [], "")
        y: Tensor = torch.ops.onednn.qlinear_pointwise(
            levels, scale, LEVELS + 1, self.weight, self.scales, self.zeros, self.bias, *result
        )
        return y


def each(layers: Sequence[Callable[[], Tensor]]) -> list[Tensor]:
    """Call every layer once."""
    return [layer() for layer in layers]


@torch.inference_mode()
def speed() -> None:
    """Compare the linear layers of a ViT-B/32 block with bfloat16, on one core."""
    torch.set_num_threads(1)
    vision = BASE.vision
    assert isinstance(vision, ViTConfig)
    width, hidden = vision.width, vision.mlp_width
    shapes = {"qkv": (width, 3 * width), "out": (width, width)}
    shapes |= {"fc1": (width, hidden), "fc2": (hidden, width)}
    work: dict[str, list[Callable[[], Tensor]]] = {"int8": [], "bfloat16": []}
    for name, (into, out) in shapes.items():
        x = torch.randn(ROWS, into).bfloat16()
        weight, bias = torch.randn(out, into) / into**0.5, torch.randn(out)
        fused = "silu" if name == "fc1" else "none"
        theirs = Int8(weight, bias, "swish" if fused == "silu" else "none")
        ours = Linear(weight, bias, torch.bfloat16, fused)  # type: ignore[arg-type]
        work["int8"].append(partial(theirs, x))
        work["bfloat16"].append(partial(ours, x))
    taken = alternate({name: partial(each, layers) for name, layers in work.items()}, rounds=30)
    ms = {name: 1e3 * statistics.median(seconds) for name, seconds in taken.seconds.items()}
    print(
        f"linear layers of one block, {ROWS} tokens, one core: bfloat16 {ms['bfloat16']:.2f} ms, "
        f"int8 {ms['int8']:.2f} ms, {taken.ratio('int8', 'bfloat16'):.2f}x"
    )


if __name__ == "__main__":
    warnings.filterwarnings("ignore", "torch.quantize_per_tensor")
    print(machine())
    agreement()
    speed()
