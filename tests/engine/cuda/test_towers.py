"""The table of towers for GPUs, and the towers that are not in it."""

from __future__ import annotations

import torch

from tests.engine.cuda.support import backend_of, unit
from tests.engine.support import RESNET, network_of, pixels, worst
from zeroshot.engine.cuda.towers import CUDA_TOWERS, count_image_values
from zeroshot.nn.network import TOWERS
from zeroshot.nn.resnet import ModifiedResNet
from zeroshot.spec import ResNetConfig, ViTConfig


def test_table_lists_only_towers_that_exist() -> None:
    assert CUDA_TOWERS.keys() <= TOWERS.keys()


def test_tower_that_is_not_in_the_table_runs_as_the_plain_module(device: torch.device) -> None:
    backend, batch = backend_of(RESNET, device=device), pixels(RESNET, 5)

    assert type(backend._visual) is ModifiedResNet
    expected = unit(network_of(RESNET).visual(batch))
    assert worst(unit(backend.embed_pixels(batch)), expected) < 1e-5


def test_values_of_an_image_are_estimated_for_every_tower() -> None:
    resnet = ResNetConfig(224, 64, (3, 4, 6, 3), 32)  # RN50: 0.8 million in its largest map
    vit = ViTConfig(224, 32, 768, 12, 12, 3072, "quick_gelu")

    assert 3e6 < count_image_values(resnet) < 3e7
    assert 1e6 < count_image_values(vit) < 2e6
