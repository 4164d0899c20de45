"""The image tower for GPUs equals the plain tower, for every option."""

from __future__ import annotations

import pytest
import torch

from tests.engine.cuda.support import backend_of, unit
from tests.engine.families import VISION, with_vision
from tests.engine.support import CONFIGS, network_of, pixels, worst
from zeroshot.engine.cuda.blocks import PooledBlock
from zeroshot.engine.cuda.vision import PatchProduct, count_values
from zeroshot.spec import ViTConfig

EXACT = 1e-5


@pytest.mark.parametrize("config", VISION.values(), ids=VISION)
@pytest.mark.parametrize("project", [True, False])
def test_tower_equals_the_plain_tower(
    config: ViTConfig, project: bool, device: torch.device
) -> None:
    whole = with_vision(config)
    network, batch = network_of(whole), pixels(whole, 5)
    expected = unit(network.visual(batch) if project else network.visual.trunk(batch))

    found = backend_of(whole, device=device).embed_pixels(batch, project=project)

    assert worst(unit(found), expected) < EXACT
    assert float((expected - expected.roll(1, 0)).norm(dim=1).min()) > 0.05  # the inputs differ


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", ["quick_gelu", "gelu"])
def test_half_precision_is_close(name: str, dtype: torch.dtype, device: torch.device) -> None:
    config = CONFIGS[name]
    batch = pixels(config, 5)
    expected = unit(network_of(config).visual(batch))

    found = unit(backend_of(config, device=device, dtype=dtype).embed_pixels(batch))

    assert worst(found, expected) < (4e-2 if dtype == torch.bfloat16 else 5e-3)


@pytest.mark.parametrize("shape", [(8, 8), (16, 24), (19, 8), (21, 30)])
@pytest.mark.parametrize("bias", [True, False])
def test_patch_product_equals_the_convolution(shape: tuple[int, int], bias: bool) -> None:
    convolution = torch.nn.Conv2d(3, 12, 8, stride=8, bias=bias).requires_grad_(False)
    images = torch.randn(2, 3, *shape)
    expected = convolution(images)

    found = PatchProduct(convolution)(images)

    assert found.shape == expected.shape
    assert (found - expected).abs().max() < EXACT
    assert found.flatten(2).transpose(1, 2).is_contiguous()  # the tower copies nothing


def test_patch_product_accepts_an_empty_batch() -> None:
    product = PatchProduct(torch.nn.Conv2d(3, 12, 8, stride=8))

    assert product(torch.zeros(0, 3, 16, 16)).shape == (0, 12, 2, 2)


def test_last_block_runs_for_the_class_token_only_where_that_is_pooled() -> None:
    for config in (CONFIGS["quick_gelu"], with_vision(VISION["siglip"])):
        tower = backend_of(config)._visual
        is_pooled = isinstance(tower.transformer.resblocks[-1], PooledBlock)

        assert is_pooled == (config.vision.pool == "token")
        assert isinstance(tower.conv1, PatchProduct)


def test_images_of_different_shapes_equal_those_of_the_plain_tower() -> None:
    config = with_vision(VISION["siglip, any grid"])
    patch, random = config.vision.patch_size, torch.Generator().manual_seed(0)
    images = [
        torch.randn(3, rows * patch, columns * patch, generator=random)
        for rows, columns in ((1, 4), (2, 3), (4, 4), (3, 1))
    ]
    expected = unit(network_of(config).visual(images))

    found = backend_of(config).embed_pixels(images, batch_size=2)

    assert worst(unit(found), expected) < EXACT


def test_values_grow_with_the_tower_and_the_image() -> None:
    small = ViTConfig(224, 32, 768, 12, 12, 3072, "quick_gelu")  # ViT-B/32
    large = ViTConfig(336, 14, 1024, 24, 16, 4096, "quick_gelu")  # ViT-L/14@336

    assert 1e6 < count_values(small) < 2e6
    assert 8e6 < count_values(large) < 2e7
