"""Small networks, engines over them, and inputs that differ clearly."""

from __future__ import annotations

import torch

from zeroshot.checkpoint.weights import Weights
from zeroshot.engine import Engine
from zeroshot.nn.network import Network
from zeroshot.spec import Activation, NetworkConfig, ResNetConfig, TextConfig, ViTConfig

CPU = torch.device("cpu")
EXACT = 2e-6  # of a unit embedding's length, float32
CLOSE = 2e-2  # the same in bfloat16, whose numbers have 8 bits, for these wild random weights


def network_of(config: NetworkConfig, seed: int = 0) -> Network:
    """Build a network whose embeddings differ clearly from input to input."""
    random = torch.Generator().manual_seed(seed)
    network = Network(config)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if not tensor.is_floating_point():
                continue
            values = torch.randn(tensor.shape, generator=random)
            if ("attnpool" in name and tensor.ndim == 1) or "attnpool.positional" in name:
                values *= 0.02  # or what all images share would outweigh their differences
            elif tensor.ndim >= 2 and "embedding" not in name:
                values /= tensor[0].numel() ** 0.5
            elif name.endswith("running_var"):
                values = values.abs() + 0.5
            elif "ln_" in name or "bn" in name or "downsample" in name:
                values = 0.1 * values + name.endswith("weight")
            tensor.copy_(values)
    return network.eval().requires_grad_(False)


def engine_of(
    network: Network,
    config: NetworkConfig,
    device: torch.device,
    dtype: torch.dtype,
    *,
    plain: bool = False,
) -> Engine:
    return Engine(Weights.of_network(network, config), config, device, dtype, plain=plain)


def vit(activation: Activation = "quick_gelu", heads: int = 2, layers: int = 3) -> NetworkConfig:
    return NetworkConfig(
        20,
        ViTConfig(40, 8, 48, layers, heads, 192, activation),
        TextConfig(77, 600, 32, layers, heads, 128, activation),
    )


RESNET = NetworkConfig(
    24, ResNetConfig(64, 16, (1, 2, 1, 1), 8), TextConfig(77, 600, 32, 2, 2, 128, "quick_gelu")
)
CONFIGS = {
    "quick_gelu": vit(),
    "gelu": vit("gelu"),
    "gelu_tanh": vit("gelu_tanh"),
    "heads of 12": vit(heads=4),
    "one layer": vit(layers=1),
    "resnet": RESNET,
}


def pixels(config: NetworkConfig, count: int) -> torch.Tensor:
    """Draw images that differ in color and not only in noise."""
    size = config.vision.image_size
    random = torch.Generator().manual_seed(count)
    colors = 2 * torch.randn(count, 3, 1, 1, generator=random)
    return colors + torch.randn(count, 3, size, size, generator=random)


def rows(config: NetworkConfig, lengths: list[int], seed: int = 0) -> list[list[int]]:
    """Draw token rows of these lengths, start and end included."""
    random = torch.Generator().manual_seed(seed)
    end = config.text.vocab_size - 1
    return [
        [end - 1, *torch.randint(0, end - 1, (n - 2,), generator=random).tolist(), end]
        for n in lengths
    ]


def worst(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm(dim=1).max())


class Borrowed(dict[str, torch.Tensor]):
    """Values of a module, as a backend lends them."""

    def of(self, name: str) -> Borrowed:
        prefix = f"{name}."
        return Borrowed(
            {n.removeprefix(prefix): t for n, t in self.items() if n.startswith(prefix)}
        )

    def rows(self, name: str, ids: torch.Tensor) -> torch.Tensor:
        return self[name][ids]

    def release(self) -> None:
        pass
