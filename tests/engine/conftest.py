"""Fixtures of the engine tests: each kind of network, with each kind of operators."""

from __future__ import annotations

import pytest
import torch

from tests.engine.support import CONFIGS, network_of
from zeroshot.engine.cpu import attention, linear
from zeroshot.nn.network import Network
from zeroshot.spec import NetworkConfig


@pytest.fixture(scope="module", params=CONFIGS)
def config(request: pytest.FixtureRequest) -> NetworkConfig:
    return CONFIGS[request.param]


@pytest.fixture(scope="module")
def network(config: NetworkConfig) -> Network:
    return network_of(config)


@pytest.fixture(params=["packed", "attention written out", "plain operators"])
def operators(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run with torch's private operators, and as on a torch that lacks them."""
    if request.param == "packed":
        assert linear.can_pack(torch.float32) or not torch.backends.mkldnn.is_available()
    elif request.param == "attention written out":
        monkeypatch.setattr(attention, "is_unfused_faster", lambda dtype: True)
        monkeypatch.setattr(attention, "SCORES", 2**10)  # so that heads are processed in parts
    else:
        monkeypatch.setattr(linear, "can_pack", lambda dtype: False)
