"""ConvNeXt on a CPU: channels last, with fused activations, layer scales and residuals."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from tests.checkpoint.families_convnext import SPECS, tensors_of
from tests.engine.support import Borrowed, pixels, worst
from zeroshot.engine.cpu.convnext import Cells, FusedConvNeXt
from zeroshot.engine.cpu.linear import Scratch
from zeroshot.nn.convnext import ConvNeXt
from zeroshot.spec import Spec


def tower(spec: Spec) -> ConvNeXt:
    network = ConvNeXt(spec.network.vision, spec.network.embed_dim).requires_grad_(False)
    state = {name: each for name, each in tensors_of(spec).items() if name.startswith("visual.")}
    network.load_state_dict({name.removeprefix("visual."): each for name, each in state.items()})
    return network.eval()


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.usefixtures("operators")
def test_tower_matches_the_plain_tower(spec: Spec, count: int) -> None:
    plain = tower(spec)
    fast = FusedConvNeXt(spec.network.vision, Borrowed(plain.state_dict()), torch.float32)
    batch = pixels(spec.network, count)

    found, expected = (F.normalize(each(batch), dim=1) for each in (fast, plain))

    assert worst(found, expected) < 1e-5
    assert count == 1 or float((found - found.roll(1, 0)).norm(dim=1).min()) > 1e-2
    features = F.normalize(fast.trunk(batch), dim=1)
    assert worst(features, F.normalize(plain.trunk(batch), dim=1)) < 1e-5


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_bfloat16_is_close_to_float32(spec: Spec) -> None:
    plain = tower(spec)
    fast = FusedConvNeXt(spec.network.vision, Borrowed(plain.state_dict()), torch.bfloat16)
    batch = pixels(spec.network, 4)

    found, expected = fast(batch), plain(batch)

    assert found.dtype == torch.bfloat16
    assert worst(F.normalize(found.float(), dim=1), F.normalize(expected, dim=1)) < 5e-2


def test_tower_owns_its_values() -> None:
    spec = SPECS["mlp"]
    plain = tower(spec)
    fast = FusedConvNeXt(spec.network.vision, Borrowed(plain.state_dict()), torch.float32)
    batch = pixels(spec.network, 2)
    expected = fast(batch)

    for tensor in plain.state_dict().values():
        tensor.zero_()

    assert torch.equal(fast(batch), expected)


@pytest.mark.parametrize("side", [2, 4])
def test_convolution_over_cells_is_a_linear_layer(side: int) -> None:
    plain = torch.nn.Conv2d(6, 8, side, stride=side).requires_grad_(False)
    x = torch.randn(2, 6, 8, 12, generator=torch.Generator().manual_seed(side))

    found = Cells(Borrowed(plain.state_dict()), torch.float32, Scratch())(x.permute(0, 2, 3, 1))

    assert torch.allclose(found, plain(x).permute(0, 2, 3, 1), atol=1e-5)
