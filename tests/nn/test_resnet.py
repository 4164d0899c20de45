"""OpenAI's modified ResNet: shapes at unusual sizes, blurred strides, and attention pooling."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from zeroshot.nn.resnet import EXPANSION, AttentionPool, Bottleneck, ModifiedResNet
from zeroshot.spec import ResNetConfig


def filled(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                values = torch.randn(tensor.shape, generator=generator)
                if tensor.ndim > 1:
                    values /= tensor[0].numel() ** 0.5
                elif name.endswith(("running_var", "weight")):
                    values = values.abs() + 0.5
                tensor.copy_(values)
    return module.eval().requires_grad_(False)


def pixels(size: int, count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(size))


@pytest.mark.parametrize("size", [32, 64, 96, 224])
@pytest.mark.parametrize("count", [1, 3])
def test_output_is_one_row_per_image(size: int, count: int) -> None:
    network = filled(ModifiedResNet(ResNetConfig(size, 8, (1, 1, 1, 1), 4), 10))

    found = network(pixels(size, count))

    assert found.shape == (count, 10)
    assert torch.isfinite(found).all()


def test_parameters_are_named_as_in_openai_checkpoints() -> None:
    names = ModifiedResNet(ResNetConfig(64, 8, (1, 2, 1, 1), 4), 10).state_dict().keys()

    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    pool = [f"{letter}_proj.{kind}" for letter in "qkvc" for kind in ("weight", "bias")]
    expected = {"attnpool.positional_embedding", *(f"attnpool.{name}" for name in pool)}
    blocks = ["", "layer1.0.", "layer2.0.", "layer2.1.", "layer3.0.", "layer4.0."]
    for block in blocks:
        for n in (1, 2, 3):
            expected |= {f"{block}conv{n}.weight", *(f"{block}bn{n}.{part}" for part in norm)}
        if block.endswith(".0."):
            expected |= {f"{block}downsample.0.weight"}
            expected |= {f"{block}downsample.1.{part}" for part in norm}
    assert names == expected


def test_stages_hold_as_many_blocks_as_the_config_says() -> None:
    network = ModifiedResNet(ResNetConfig(64, 8, (3, 4, 6, 3), 4), 10)

    assert [len(network.get_submodule(f"layer{n}")) for n in range(1, 5)] == [3, 4, 6, 3]


@pytest.mark.parametrize(
    ("channels", "stride", "has_downsample"), [(8, 1, True), (32, 1, False), (32, 2, True)]
)
def test_bottleneck_shapes_and_skips(channels: int, stride: int, has_downsample: bool) -> None:
    block = filled(Bottleneck(channels, 8, stride))
    x = torch.randn(2, channels, 6, 4)

    assert (block.downsample is not None) is has_downsample
    assert block(x).shape == (2, 8 * EXPANSION, 6 // stride, 4 // stride)


def test_stride_is_an_average_and_no_pixel_is_skipped() -> None:
    block = filled(Bottleneck(8, 8, 2))
    x = torch.randn(1, 8, 4, 4, generator=torch.Generator().manual_seed(1))
    skip = block.downsample(F.avg_pool2d(x, 2))
    y = F.relu(block.bn2(block.conv2(F.relu(block.bn1(block.conv1(x))))))

    expected = F.relu(block.bn3(block.conv3(F.avg_pool2d(y, 2))) + skip)

    assert torch.allclose(block(x), expected, atol=1e-5)


def test_attention_pool_equals_torchs_attention_with_the_mean_as_query() -> None:
    pool = filled(AttentionPool(3, 16, 4, 10))
    x = torch.randn(2, 16, 3, 3, generator=torch.Generator().manual_seed(2))
    tokens = x.flatten(2).permute(2, 0, 1)  # as in openai/CLIP: [p, b, w]
    tokens = torch.cat([tokens.mean(dim=0, keepdim=True), tokens])
    tokens = tokens + pool.positional_embedding[:, None]

    expected, _ = F.multi_head_attention_forward(
        query=tokens[:1],
        key=tokens,
        value=tokens,
        embed_dim_to_check=16,
        num_heads=4,
        q_proj_weight=pool.q_proj.weight,
        k_proj_weight=pool.k_proj.weight,
        v_proj_weight=pool.v_proj.weight,
        in_proj_weight=None,
        in_proj_bias=torch.cat([pool.q_proj.bias, pool.k_proj.bias, pool.v_proj.bias]),
        bias_k=None,
        bias_v=None,
        add_zero_attn=False,
        dropout_p=0,
        out_proj_weight=pool.c_proj.weight,
        out_proj_bias=pool.c_proj.bias,
        use_separate_proj_weight=True,
        training=False,
        need_weights=False,
    )

    assert torch.allclose(pool.c_proj(pool(x)), expected[0], atol=1e-5)
