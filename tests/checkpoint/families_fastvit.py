"""Tiny MobileCLIPs in open_clip's layout, whose image tower has its training branches.

`TrainedFastViT` computes the branches one by one, with timm's names.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from tests.checkpoint import families
from tests.checkpoint.forms import (
    Tensors,
    open_clip_preprocess,
    open_clip_text,
    write_json,
)
from zeroshot.checkpoint.layouts import timm_fastvit
from zeroshot.nn.fastvit import FastViT
from zeroshot.spec import FastViTConfig, NetworkConfig, PreprocessConfig, Spec, TextConfig

WIDTH = 8
SMALL = FastViTConfig(64, WIDTH, (1, 2, 1, 1), 3, squeeze=True, layer_norm=False)
LARGE = FastViTConfig(64, WIDTH, (1, 1, 2, 1, 2), 4, squeeze=False, layer_norm=True)
TOWERS = {"fastvit_test_small": SMALL, "fastvit_test_large": LARGE}
TEXT = TextConfig(12, 49408, 32, 2, 2, 128, "gelu", causal=False)
BLACK_TO_ONE = PreprocessConfig(64, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "bilinear")
SPECS = {
    "fastvit_test_small": Spec(NetworkConfig(24, SMALL, TEXT), BLACK_TO_ONE),
    "fastvit_test_large": Spec(
        NetworkConfig(24, LARGE, TEXT), PreprocessConfig(64, interpolation="bilinear")
    ),
}


# ---- timm's modules before folding


class ConvNorm(nn.Module):
    def __init__(self, channels: int, out: int, kernel: int, stride: int, groups: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x))


class Squeeze(nn.Module):
    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(channels, hidden, 1), nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True)))).sigmoid()


class Branches(nn.Module):
    def __init__(
        self, channels: int, out: int, kernel: int, stride: int = 1, *, groups: int, scale: bool
    ) -> None:
        super().__init__()
        self.conv_kxk = nn.ModuleList([ConvNorm(channels, out, kernel, stride, groups)])
        self.conv_scale = ConvNorm(channels, out, 1, stride, groups) if scale else None
        self.identity = nn.BatchNorm2d(out) if channels == out and stride == 1 else None
        self.se: nn.Module = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.se(
            sum(
                branch(x)
                for branch in (self.conv_kxk[0], self.conv_scale, self.identity)
                if branch is not None
            )
        )


class LargeKernel(nn.Module):
    def __init__(self, channels: int, out: int, *, squeeze: bool) -> None:
        super().__init__()
        self.large_conv = ConvNorm(channels, out, 7, 2, channels)
        self.small_conv = ConvNorm(channels, out, 3, 2, channels)
        self.se = Squeeze(out, out // 4) if squeeze else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.se(self.large_conv(x) + self.small_conv(x)))


class Down(nn.Module):
    def __init__(self, channels: int, out: int, *, squeeze: bool) -> None:
        super().__init__()
        self.proj = nn.Sequential(
            LargeKernel(channels, out, squeeze=squeeze),
            Branches(out, out, 1, groups=1, scale=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.proj(x))


class Scale(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class Positions(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pos_enc = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.pos_enc(x)


class Mlp(nn.Module):
    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.conv = ConvNorm(channels, channels, 7, 1, channels)
        self.fc1, self.fc2 = nn.Conv2d(channels, hidden, 1), nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(self.conv(x))))


class Norm2d(nn.LayerNorm):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class Identity(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.identity = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.identity(x)


class Head(nn.Module):
    def __init__(self, channels: int, embed_dim: int) -> None:
        super().__init__()
        self.fc = nn.Linear(channels, embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.mean((2, 3)))


class Mixer(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mixer = Branches(channels, channels, 3, groups=channels, scale=True)
        self.norm = Identity(channels)
        self.layer_scale = Scale(channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layer_scale(self.mixer(x) - self.norm(x))


class MixerBlock(nn.Module):
    def __init__(self, config: FastViTConfig, channels: int) -> None:
        super().__init__()
        self.token_mixer = Mixer(channels)
        self.mlp, self.layer_scale = Mlp(channels, channels * config.mlp_ratio), Scale(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.token_mixer(x)
        return x + self.layer_scale(self.mlp(x))


class Attention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        qkv = self.qkv(x.flatten(2).mT).view(b, h * w, 3, c // 32, 32).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(*qkv).transpose(1, 2).reshape(b, h * w, c)
        return self.proj(y).mT.reshape(x.shape)


class AttentionBlock(nn.Module):
    def __init__(self, config: FastViTConfig, channels: int) -> None:
        super().__init__()
        self.norm = Norm2d(channels) if config.layer_norm else nn.BatchNorm2d(channels)
        self.token_mixer = Attention(channels)
        self.mlp = Mlp(channels, channels * config.mlp_ratio)
        self.layer_scale_1, self.layer_scale_2 = Scale(channels), Scale(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.layer_scale_1(self.token_mixer(self.norm(x)))
        return x + self.layer_scale_2(self.mlp(x))


class Stage(nn.Module):
    def __init__(self, config: FastViTConfig, n: int) -> None:
        super().__init__()
        width, attends = config.width * 2**n, n >= 3
        squeeze = config.squeeze and n in (2, 3)
        self.downsample = Down(width // 2, width, squeeze=squeeze) if n else nn.Identity()
        self.pos_emb = Positions(width) if attends else nn.Identity()
        kind = AttentionBlock if attends else MixerBlock
        self.blocks = nn.Sequential(*(kind(config, width) for _ in range(config.layers[n])))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.pos_emb(self.downsample(x)))


class TrainedFastViT(nn.Module):
    """Pixels [b, 3, s, s] become embeddings [b, d]."""

    def __init__(self, config: FastViTConfig, embed_dim: int) -> None:
        super().__init__()
        width, last = config.width, config.width * 2 ** (len(config.layers) - 1)
        scale = not config.layer_norm  # S3 and S4 have one branch fewer in the stem
        self.stem = nn.ModuleList(
            [
                Branches(3, width, 3, 2, groups=1, scale=scale),
                Branches(width, width, 3, 2, groups=width, scale=scale),
                Branches(width, width, 1, groups=1, scale=False),
            ]
        )
        self.stages = nn.Sequential(*(Stage(config, n) for n in range(len(config.layers))))
        self.final_conv = Branches(last, 2 * last, 3, groups=last, scale=True)
        self.final_conv.se = Squeeze(2 * last, 2 * last // 16)
        self.head = Head(2 * last, embed_dim)

    def forward(self, pixels: Tensor) -> Tensor:
        x = pixels
        for layer in self.stem:
            x = F.gelu(layer(x))
        return self.head(F.gelu(self.final_conv(self.stages(x))))


# ---- files


@cache
def trained(config: FastViTConfig, embed_dim: int = 24, seed: int = 5) -> TrainedFastViT:
    """Build a tower whose every tensor is random; do not change it."""
    random = torch.Generator().manual_seed(seed)
    tower = TrainedFastViT(config, embed_dim).eval().requires_grad_(False)
    for name, tensor in tower.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(draw(name, tensor, random))
    return tower


def folded(config: FastViTConfig, embed_dim: int = 24) -> FastViT:
    """Return the same tower after folding."""
    state = trained(config, embed_dim).state_dict()
    stored = timm_fastvit.rename({f"visual.trunk.{n}": each for n, each in state.items()}, "x")
    tower = FastViT(config, embed_dim).eval().requires_grad_(False)
    values = {name.removeprefix("visual."): each.read() for name, each in stored.items()}
    tower.load_state_dict(values, strict=True)
    return tower


def draw(name: str, tensor: Tensor, random: torch.Generator) -> Tensor:
    values = torch.randn(tensor.shape, generator=random)
    if name.endswith("running_var"):
        return values.abs() + 0.5
    if name.endswith("gamma"):
        return 0.3 * values
    if tensor.ndim >= 2:
        return values / tensor[0].numel() ** 0.5
    return 0.1 * values + name.endswith("weight")


def tensors_of(spec: Spec, tower: nn.Module) -> Tensors:
    """Return the tensors of a checkpoint in open_clip's layout."""
    drawn = families.tensors_of(spec)
    others = {name: each for name, each in drawn.items() if not name.startswith("visual.")}
    return others | {f"visual.trunk.{name}": each for name, each in tower.state_dict().items()}


def config_of(spec: Spec, name: str) -> dict[str, Any]:
    """Return the config with the fields of open_clip's configs of MobileCLIP."""
    text = spec.network.text
    assert isinstance(text, TextConfig)
    return {
        "model_cfg": {
            "embed_dim": spec.network.embed_dim,
            "custom_text": True,
            "vision_cfg": {
                "timm_model_name": name,
                "timm_model_pretrained": False,
                "timm_pool": "avg",
                "timm_proj": None,
                "timm_drop": 0.0,
                "timm_drop_path": 0.0,
                "image_size": spec.preprocess.size,
            },
            "text_cfg": open_clip_text(text)
            | {
                "no_causal_mask": not text.causal,
            },
        },
        "preprocess_cfg": open_clip_preprocess(spec),
    }


def write(folder: Path, name: str, tensors: Tensors | None = None) -> Path:
    """Write a tiny MobileCLIP as open_clip does."""
    spec = SPECS[name]
    config = spec.network.vision
    assert isinstance(config, FastViTConfig)
    if tensors is None:
        tensors = tensors_of(spec, trained(config, spec.network.embed_dim))
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "open_clip_model.safetensors", {"format": "pt"})
    write_json(folder / "open_clip_config.json", config_of(spec, name))
    return folder
