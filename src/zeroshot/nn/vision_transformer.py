"""Define the vision transformer: patches, blocks, a pool and a projection.

Its options cover CLIP, SigLIP, the Perception Encoder, EVA-CLIP, CLIPA and the larger MobileCLIP;
see `spec.ViTConfig` for their sources.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zeroshot.nn.layers import AttentionPool, Transformer
from zeroshot.nn.rotary import angles
from zeroshot.nn.stem import ConvolutionStem
from zeroshot.spec import ViTConfig


class VisionTransformer(nn.Module):
    """Embed pixels [b, 3, s, s] as [b, d], not normalized.

    With `any_grid`, pixels are [b, 3, h, w], or a list of images [3, h, w] of different shapes.
    """

    def __init__(self, config: ViTConfig, embed_dim: int) -> None:
        super().__init__()
        self.config = config
        width, patch = config.width, config.patch_size
        patches = (config.image_size // patch) ** 2
        if config.stem == "convolutions":
            self.stem = ConvolutionStem(width)
        else:
            self.conv1 = nn.Conv2d(3, width, patch, stride=patch, bias=config.patch_bias)
        if config.class_token:
            self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(
            torch.empty(config.extra_positions + patches, width)
        )
        self.ln_pre = nn.LayerNorm(width, eps=config.eps) if config.pre_norm else nn.Identity()
        self.transformer = Transformer(
            width,
            config.layers,
            config.heads,
            config.mlp_width,
            config.activation,
            config.eps,
            config.block_options,
        )
        self.ln_post = nn.LayerNorm(width, eps=config.eps)
        if config.pool == "attention":
            self.attn_pool = AttentionPool(
                width, config.pool_heads, config.pool_mlp_width, config.activation, config.eps
            )
        if config.projection != "none":
            self.proj = nn.Parameter(torch.empty(width, embed_dim))
        if config.projection == "biased":
            self.proj_bias = nn.Parameter(torch.empty(embed_dim))

    def forward(self, pixels: Tensor | Sequence[Tensor]) -> Tensor:
        return self.project(self.trunk(pixels))

    def trunk(self, pixels: Tensor | Sequence[Tensor]) -> Tensor:
        """Return the pooled feature after the last norm: [b, w]."""
        config, mask = self.config, None
        if isinstance(pixels, Tensor):
            x = self.embed(pixels)
        else:
            x, mask = pad([self.embed(image[None])[0] for image in pixels])
        x = self.transformer(self.ln_pre(x), turns=angles(config, x), mask=mask)
        if config.norm_after_pool or config.pool == "token":  # others are not read
            return self.ln_post(self.pool(x, mask))
        return self.pool(self.ln_post(x), mask)

    def embed(self, pixels: Tensor) -> Tensor:
        """Convert pixels [b, 3, h, w] to tokens with their positions: [b, t, w]."""
        config = self.config
        x = self.stem(pixels) if config.stem == "convolutions" else self.conv1(pixels)
        rows, columns = x.shape[2:]
        x = x.flatten(2).transpose(1, 2)  # [b, p, w]
        if config.any_grid:
            return x + resample_positions(self.positional_embedding, rows, columns)
        if not config.class_position:
            x = x + self.positional_embedding
        if config.class_token:
            class_token = self.class_embedding.expand(x.shape[0], 1, -1)
            x = torch.cat([class_token, x], dim=1)  # [b, 1 + p, w]
        return x + self.positional_embedding if config.class_position else x

    def pool(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Combine the tokens [b, t, w] into one feature [b, w]; `mask` is False for padding."""
        if self.config.pool == "attention":
            return self.attn_pool(x, mask)
        if self.config.pool == "mean":  # of the patches
            x = x[:, int(self.config.class_token) :]
            if mask is None:
                return x.mean(dim=1)
            present = mask[:, 0, 0, :, None]  # [b, t, 1]
            return (x * present).sum(dim=1) / present.sum(dim=1)
        return x[:, 0]

    def project(self, features: Tensor) -> Tensor:
        """Map features to the shared space: [b, w] to [b, d]."""
        if self.config.projection == "none":
            return features
        x = features @ self.proj  # [b, d]
        return x + self.proj_bias if self.config.projection == "biased" else x


def resample_positions(table: Tensor, rows: int, columns: int) -> Tensor:
    """Resample the positions of a square grid [n * n, w] for another grid: [rows * columns, w].

    Bilinear, antialiased, in float32. Source: `resize_positional_embeddings` of Siglip2Model in
    transformers.
    """
    side = round(len(table) ** 0.5)
    grid = table.float().T.reshape(1, -1, side, side)  # [1, w, n, n]
    resampled = F.interpolate(grid, (rows, columns), mode="bilinear", antialias=True)
    return resampled.flatten(2)[0].T.to(table.dtype)


def pad(tokens: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
    """Pad tokens [t, w] of images to the same number: [b, t, w].

    The mask [b, 1, 1, t] is False for padding, and None without any.
    """
    lengths = [len(each) for each in tokens]
    if len(set(lengths)) == 1:
        return torch.stack(list(tokens)), None
    padded = nn.utils.rnn.pad_sequence(list(tokens), batch_first=True)
    places = torch.arange(max(lengths), device=padded.device)
    ends = torch.tensor(lengths, device=padded.device)[:, None]
    return padded, (places < ends)[:, None, None]
