"""Fold training branches, batch norms and layer scales into weights and biases.

At the time of inference, a sum of convolutions, each followed by a batch norm, is one convolution
(arXiv 2206.04040, section 3.3). Sums are computed in float64 and rounded once, so that the results,
which `Model.identity` hashes, do not depend on the processor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

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
        outputs = recipe({name: each.to("meta") for name, each in tensors.items()})
    except KeyError as error:
        raise IncompatibleWeights(
            f"{source}: {shortened(what)}: the tensor {error.args[0]!r} is missing, expected all "
            "tensors of its training branches; download the file again",
            source=source,
        ) from error
    except (RuntimeError, ValueError, IndexError) as error:
        shapes = ", ".join(f"{name} {tuple(each.shape)}" for name, each in tensors.items())
        raise IncompatibleWeights(
            f"{source}: {shortened(what)}: the training branches have shapes that do not fit: "
            f"{shortened(shapes, 250)}; download the file again",
            source=source,
        ) from error
    first, second = (Fold(recipe, names, n, each.shape) for n, each in enumerate(outputs))
    return first, second


# ---- recipes


def branches(tensors: Named) -> tuple[Tensor, Tensor]:
    """Add up the branches of a block: convolutions with a batch norm, and a batch norm alone."""
    stems = [name.removesuffix(BRANCH) for name in tensors if name.endswith(BRANCH)]
    kernels = [tensors[f"{stem}{BRANCH}"].double() for stem in stems]
    side = max(kernel.shape[-1] for kernel in kernels)
    weights: list[Tensor] = []
    biases: list[Tensor] = []
    for stem, kernel in zip(stems, kernels, strict=True):
        scale, shift = batch_norm(tensors, f"{stem}.bn")
        padded = F.pad(kernel, [(side - kernel.shape[-1]) // 2] * 4)
        weights.append(padded * scale[:, None, None, None])
        biases.append(shift)
    if "identity.weight" in tensors:
        scale, shift = batch_norm(tensors, "identity")
        weights.append(identity(scale, kernels[0].shape[1], side))
        biases.append(shift)
    return sum_up(weights), sum_up(biases)


def token_mixer(tensors: Named) -> tuple[Tensor, Tensor]:
    """Fold x + gamma * (branches(x) - batch norm(x)) into one depthwise convolution."""
    mixer = {
        name.removeprefix("mixer."): each
        for name, each in tensors.items()
        if name.startswith("mixer.")
    }
    weight, bias = branches(mixer)
    scale, shift = batch_norm(tensors, "norm.identity")
    gamma, side = tensors["layer_scale.gamma"].double().flatten(), weight.shape[-1]
    weight = (weight - identity(scale, 1, side)) * gamma[:, None, None, None]
    return weight + identity(torch.ones_like(gamma), 1, side), (bias - shift) * gamma


def with_residual(tensors: Named) -> tuple[Tensor, Tensor]:
    """Fold x + convolution(x) into one depthwise convolution."""
    weight, bias = tensors["weight"].double(), tensors["bias"].double()
    return weight + identity(torch.ones_like(bias), 1, weight.shape[-1]), bias


def scaled(tensors: Named) -> tuple[Tensor, Tensor]:
    """Fold the layer scale into the layer before it."""
    gamma, weight = tensors["gamma"].float().flatten(), tensors["weight"].float()
    return weight * gamma.reshape(-1, *[1] * (weight.ndim - 1)), tensors["bias"].float() * gamma


def normalized(tensors: Named) -> tuple[Tensor, Tensor]:
    """Fold scale and shift of a norm into the linear layer after it, which has no bias.

    A batch norm is folded as a whole. The rest of a layer norm is not linear.
    """
    weight = tensors["qkv.weight"].double()
    if "norm.running_var" in tensors:
        scale, shift = batch_norm(tensors, "norm")
    else:
        scale, shift = tensors["norm.weight"].double(), tensors["norm.bias"].double()
    return weight * scale, weight @ shift


def batch_norm(tensors: Named, name: str) -> tuple[Tensor, Tensor]:
    """Return scale and shift of a batch norm: x becomes scale * x + shift."""
    variance = tensors[f"{name}.running_var"].double()
    scale = tensors[f"{name}.weight"].double() / torch.sqrt(variance + BATCH_NORM_EPS)
    return scale, tensors[f"{name}.bias"].double() - tensors[f"{name}.running_mean"] * scale


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
