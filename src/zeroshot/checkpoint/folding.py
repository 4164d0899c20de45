"""Fold training branches, batch norms and layer scales into weights and biases.

At the time of inference, a sum of convolutions, each followed by a batch norm, is one convolution
(arXiv 2206.04040, section 3.3). Sums are computed in float64 and rounded once, so that the results,
which `Model.identity` hashes, do not depend on the processor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from zeroshot.errors import IncompatibleWeights, shortened

BATCH_NORM_EPS = 1e-5  # torch's default, which timm uses
Named = Mapping[str, Tensor]
Recipe = Callable[[Named], tuple[Tensor, Tensor]]  # tensors by name -> weight, bias
BRANCH = ".conv.weight"  # end of the name of a branch's convolution


@dataclass(frozen=True)
class Fold:
    """Computes a weight or a bias from the tensors of a file."""

    recipe: Recipe
    names: tuple[str, ...]  # of the tensors, as the recipe expects them
    output: int  # 0: weight, 1: bias
    shape: torch.Size

    def __call__(self, tensors: Sequence[Tensor]) -> Tensor:
        """Return the values; tensors have the order of the names."""
        return self.recipe(dict(zip(self.names, tensors, strict=True)))[self.output]


def plan(recipe: Recipe, tensors: Named, what: str, source: str) -> tuple[Fold, Fold]:
    """Return how weight and bias are computed, without reading values.

    Raises IncompatibleWeights if a tensor is missing, or if shapes do not fit.
    """
    names = tuple(tensors)
    try:
        shapes, used = _infer(
            recipe, tuple((n, each.shape, each.dtype) for n, each in tensors.items())
        )
    except KeyError as error:
        raise IncompatibleWeights(
            f"{source}: {shortened(what)}: the tensor {error.args[0]!r} is missing, expected all "
            "tensors of its training branches; download the file again",
            source=source,
        ) from error
    except (RuntimeError, ValueError, IndexError) as error:
        given = ", ".join(f"{name} {tuple(each.shape)}" for name, each in tensors.items())
        raise IncompatibleWeights(
            f"{source}: {shortened(what)}: the training branches have shapes that do not fit: "
            f"{shortened(given, 250)}; download the file again",
            source=source,
        ) from error
    if unused := sorted(set(names) - used):
        raise IncompatibleWeights(
            f"{source}: {shortened(what)}: the tensor {shortened(repr(unused[0]))} belongs to no "
            "complete training branch; download the file again",
            source=source,
        )
    return Fold(recipe, names, 0, shapes[0]), Fold(recipe, names, 1, shapes[1])


@lru_cache(maxsize=512)  # blocks of one network have equal shapes
def _infer(
    recipe: Recipe, tensors: tuple[tuple[str, torch.Size, torch.dtype], ...]
) -> tuple[list[torch.Size], frozenset[str]]:
    """Return the shapes of weight and bias, and the names of the tensors that were read."""
    given = _Given(
        {name: torch.empty(shape, dtype=dtype, device="meta") for name, shape, dtype in tensors}
    )
    outputs = recipe(given)
    return [each.shape for each in outputs], frozenset(given.used)


class _Given(dict[str, Tensor]):
    """Tensors, of which those that were read are noted: an unread one belongs to a part branch."""

    def __init__(self, tensors: Named) -> None:
        super().__init__(tensors)
        self.used: set[str] = set()

    def __getitem__(self, name: str) -> Tensor:
        self.used.add(name)
        return super().__getitem__(name)


# ---- recipes


def branches(tensors: Named, prefix: str = "") -> tuple[Tensor, Tensor]:
    """Add up the branches of a block: convolutions with a batch norm, and a batch norm alone."""
    stems = [
        name.removesuffix(BRANCH)
        for name in tensors
        if name.startswith(prefix) and name.endswith(BRANCH)
    ]
    kernels = [tensors[f"{stem}{BRANCH}"].double() for stem in stems]
    side = max(kernel.shape[-1] for kernel in kernels)
    weights: list[Tensor] = []
    biases: list[Tensor] = []
    for stem, kernel in zip(stems, kernels, strict=True):
        scale, shift = batch_norm(tensors, f"{stem}.bn", len(kernel))
        padded = F.pad(kernel, [(side - kernel.shape[-1]) // 2] * 4)
        weights.append(padded * scale[:, None, None, None])
        biases.append(shift)
    if f"{prefix}identity.weight" in tensors:
        scale, shift = batch_norm(tensors, f"{prefix}identity", len(kernels[0]))
        weights.append(identity(scale, kernels[0].shape[1], side))
        biases.append(shift)
    return sum_up(weights), sum_up(biases)


def token_mixer(tensors: Named) -> tuple[Tensor, Tensor]:
    """Fold x + gamma * (branches(x) - batch norm(x)) into one depthwise convolution."""
    weight, bias = branches(tensors, "mixer.")
    channels = len(bias)
    scale, shift = batch_norm(tensors, "norm.identity", channels)
    gamma, side = tensors["layer_scale.gamma"].double(), weight.shape[-1]
    gamma = vector(gamma.flatten(), channels)
    weight = (weight - identity(scale, 1, side)) * gamma[:, None, None, None]
    return weight + identity(torch.ones_like(gamma), 1, side), (bias - shift) * gamma


def with_residual(tensors: Named) -> tuple[Tensor, Tensor]:
    """Fold x + convolution(x) into one depthwise convolution."""
    weight = tensors["weight"].double()
    bias = vector(tensors["bias"].double(), len(weight))
    return weight + identity(torch.ones_like(bias), 1, weight.shape[-1]), bias


def scaled(tensors: Named) -> tuple[Tensor, Tensor]:
    """Fold the layer scale into the layer before it."""
    weight = tensors["weight"].float()
    gamma = vector(tensors["gamma"].float().flatten(), len(weight))
    bias = vector(tensors["bias"].float(), len(weight))
    return weight * gamma.reshape(-1, *[1] * (weight.ndim - 1)), bias * gamma


def normalized(tensors: Named) -> tuple[Tensor, Tensor]:
    """Fold scale and shift of a norm into the linear layer after it, which has no bias.

    A batch norm is folded as a whole. The rest of a layer norm is not linear.
    """
    weight = tensors["qkv.weight"].double()
    inputs = weight.shape[1]
    if "norm.running_var" in tensors:
        scale, shift = batch_norm(tensors, "norm", inputs)
    else:
        scale = vector(tensors["norm.weight"].double(), inputs)
        shift = vector(tensors["norm.bias"].double(), inputs)
    return weight * scale, weight @ shift


def batch_norm(tensors: Named, name: str, channels: int) -> tuple[Tensor, Tensor]:
    """Return scale and shift of a batch norm: x becomes scale * x + shift."""
    weight, bias, mean, variance = (
        vector(tensors[f"{name}.{part}"].double(), channels)
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    scale = weight / torch.sqrt(variance + BATCH_NORM_EPS)
    return scale, bias - mean * scale


def vector(values: Tensor, length: int) -> Tensor:
    """Return the values. Raises ValueError unless they are a vector of this length."""
    if values.shape != (length,):
        raise ValueError("a vector has another length")
    return values


def identity(scale: Tensor, inputs: int, side: int) -> Tensor:
    """Return the kernel of a convolution that multiplies each channel: [c, inputs, side, side].

    `inputs` is 1 for a depthwise convolution, else the number of channels.
    """
    kernel = scale[:, None] if inputs == 1 else torch.diag(scale)
    return F.pad(kernel[:, :, None, None], [side // 2] * 4)


def sum_up(terms: Sequence[Tensor]) -> Tensor:
    """Add tensors of one shape. Raises ValueError if shapes differ."""
    if len({each.shape for each in terms}) != 1:
        raise ValueError("shapes differ")
    return torch.stack(tuple(terms)).sum(dim=0)
