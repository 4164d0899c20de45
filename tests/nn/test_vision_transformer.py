"""The vision transformer: shapes at unusual sizes, and the parts it is made of."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from tests.nn.test_layers import filled
from zeroshot.nn.vision_transformer import VisionTransformer, pad, resample_positions
from zeroshot.spec import ImagePool, ViTConfig


def tower(
    size: int = 24, patch: int = 8, width: int = 16, embed_dim: int = 10
) -> VisionTransformer:
    config = ViTConfig(size, patch, width, 2, 2, 32, "gelu")
    found = filled(VisionTransformer(config, embed_dim))
    assert isinstance(found, VisionTransformer)
    return found


def pixels(size: int, count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(size))


@pytest.mark.parametrize(
    ("size", "patch"), [(224, 32), (8, 8), (42, 14), (40, 8), (5, 1), (30, 7), (96, 16)]
)
@pytest.mark.parametrize("count", [0, 1, 3])
def test_output_is_one_row_per_image(size: int, patch: int, count: int) -> None:
    found = tower(size, patch)(pixels(size, count))

    assert found.shape == (count, 10)
    assert torch.isfinite(found).all()


def test_parameters_are_named_as_in_openai_checkpoints() -> None:
    block = "transformer.resblocks.{}."
    parts = [
        *("ln_1.weight", "ln_1.bias", "attn.in_proj_weight", "attn.in_proj_bias"),
        *("attn.out_proj.weight", "attn.out_proj.bias", "ln_2.weight", "ln_2.bias"),
        *("mlp.c_fc.weight", "mlp.c_fc.bias", "mlp.c_proj.weight", "mlp.c_proj.bias"),
    ]
    expected = {
        *("class_embedding", "positional_embedding", "proj", "conv1.weight"),
        *("ln_pre.weight", "ln_pre.bias", "ln_post.weight", "ln_post.bias"),
        *(block.format(n) + part for n in range(2) for part in parts),
    }

    assert tower().state_dict().keys() == expected


def test_images_of_a_batch_do_not_affect_each_other() -> None:
    network, batch = tower(), pixels(24, 4)

    alone = torch.cat([network(image[None]) for image in batch])

    assert torch.allclose(network(batch), alone, atol=1e-5)


def test_class_token_is_first_and_pooled() -> None:
    network, batch = tower(), pixels(24)
    tokens = network.conv1(batch).flatten(2).transpose(1, 2)
    tokens = torch.cat([network.class_embedding.expand(2, 1, -1), tokens], dim=1)
    x = network.transformer(network.ln_pre(tokens + network.positional_embedding))

    assert torch.allclose(network(batch), network.ln_post(x)[:, 0] @ network.proj, atol=1e-5)


def test_patches_have_positions_in_reading_order() -> None:
    network, batch = tower(), pixels(24, 1)
    patches = F.unfold(batch, 8, stride=8).transpose(1, 2)  # [1, 9, 3 * 64], row by row

    found = network.conv1(batch).flatten(2).transpose(1, 2)

    assert torch.allclose(found, patches @ network.conv1.weight.flatten(1).T, atol=1e-5)


def test_order_of_patches_matters() -> None:
    network, batch = tower(), pixels(24, 1)

    assert not torch.allclose(network(batch), network(batch.flip(3)), atol=1e-3)


def test_output_is_not_normalized() -> None:
    lengths = tower()(pixels(24, 3)).norm(dim=1)

    assert not torch.allclose(lengths, torch.ones(3), atol=1e-2)


@pytest.mark.parametrize("pool", ["mean", "attention"])
def test_images_of_any_grid_are_masked_in_a_batch(pool: ImagePool) -> None:
    config = replace(
        ViTConfig(24, 8, 16, 2, 2, 32, "gelu", class_token=False, pre_norm=False, any_grid=True),
        pool=pool,
        pool_heads=2,
        pool_mlp_width=20,
    )
    network = filled(VisionTransformer(config, 10))
    random = torch.Generator().manual_seed(4)
    shapes = ((24, 24), (8, 80), (40, 16), (8, 8))
    images = [torch.randn(3, *shape, generator=random) for shape in shapes]

    together = network(images)

    alone = torch.cat([network(image[None]) for image in images])
    assert torch.allclose(together, alone, atol=1e-5)
    assert float((alone - alone.roll(1, 0)).norm(dim=1).min()) > 0.01
    assert torch.allclose(network([images[0]] * 2), network(torch.stack([images[0]] * 2)))


def test_tokens_of_equal_number_need_no_mask() -> None:
    same, mask = pad([torch.ones(4, 2), torch.zeros(4, 2)])
    padded, needed = pad([torch.ones(2, 2), torch.ones(3, 2)])

    assert (same.shape, mask) == ((2, 4, 2), None)
    assert padded[0, 2].tolist() == [0, 0]
    assert needed is not None
    assert needed[:, 0, 0].tolist() == [[True, True, False], [True, True, True]]


def test_positions_of_any_grid_can_be_trained() -> None:
    table = torch.randn(9, 4, requires_grad=True)

    resample_positions(table, 2, 5).sum().backward()

    assert table.grad is not None
    assert float(table.grad.abs().min()) > 0
