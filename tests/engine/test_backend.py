"""What a backend must offer: every class in the table does, and gives the same answers."""

from __future__ import annotations

import inspect

import pytest
import torch

from tests.engine.support import CONFIGS, CPU, network_of, pixels, rows
from zeroshot.checkpoint.weights import Values as BorrowedValues
from zeroshot.checkpoint.weights import Weights
from zeroshot.engine import Engine, runner
from zeroshot.engine.backend import Backend, NetworkWeights, Values
from zeroshot.engine.cpu.backend import CpuBackend
from zeroshot.engine.cuda.backend import CudaBackend
from zeroshot.engine.plain import PlainBackend

CLASSES = [PlainBackend, *dict.fromkeys(runner.BACKENDS.values())]


def methods(protocol: type) -> dict[str, inspect.Signature]:
    return {
        name: inspect.signature(member)
        for name, member in vars(protocol).items()
        if inspect.isfunction(member) and (not name.startswith("_") or name == "__getitem__")
        if name not in ("__subclasshook__",)
    }


@pytest.mark.parametrize("kind", CLASSES)
def test_backend_has_every_method_with_the_same_parameters(kind: type) -> None:
    for name, signature in methods(Backend).items():
        found = inspect.signature(getattr(kind, name))
        assert list(found.parameters) == list(signature.parameters), name


@pytest.mark.parametrize(
    ("protocol", "kind"), [(Values, BorrowedValues), (NetworkWeights, Weights)]
)
def test_weights_of_a_checkpoint_have_every_method_that_backends_use(
    protocol: type, kind: type
) -> None:
    assert methods(protocol)
    for name, signature in methods(protocol).items():
        found = inspect.signature(getattr(kind, name))
        assert set(signature.parameters) <= set(found.parameters), name


def test_cpu_and_cuda_run_their_own_backends_and_other_devices_the_plain_one() -> None:
    config = CONFIGS["one layer"]
    weights = Weights.of_network(network_of(config), config)

    assert type(Engine(weights, config, CPU, torch.float32).backend) is CpuBackend
    assert type(Engine(weights, config, torch.device("cuda"), torch.float16).backend) is CudaBackend
    meta = torch.device("meta")
    assert type(Engine(weights, config, meta, torch.float32).backend) is PlainBackend
    assert type(Engine(weights, config, CPU, torch.float32, plain=True).backend) is PlainBackend


@pytest.mark.parametrize("kind", CLASSES)
def test_backend_gives_float32_rows_in_order(kind: type[Backend]) -> None:
    config = CONFIGS["quick_gelu"]
    backend = kind(Weights.of_network(network_of(config), config), config, CPU, torch.float32)
    batch = pixels(config, 6)
    texts = [tuple(row) for row in rows(config, [3, 20, 5, 9])]

    images, sentences = backend.embed_pixels(batch, None), backend.embed_ids(texts, None)

    assert images.shape == (6, config.embed_dim)
    assert sentences.shape == (4, config.embed_dim)
    assert images.dtype == sentences.dtype == torch.float32
    reverse = backend.embed_pixels(batch.flip(0), None), backend.embed_ids(texts[::-1], None)
    assert torch.allclose(reverse[0].flip(0), images, atol=1e-4)
    assert torch.allclose(reverse[1].flip(0), sentences, atol=1e-4)


def test_new_device_is_one_row_in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    class Constant(PlainBackend):
        def embed_pixels(
            self, pixels: torch.Tensor, batch_size: int | None = None, project: bool = True
        ) -> torch.Tensor:
            return torch.ones(len(pixels), 4)

    monkeypatch.setitem(runner.BACKENDS, "meta", Constant)
    config = CONFIGS["one layer"]
    weights = Weights.of_network(network_of(config), config)

    found = Engine(weights, config, torch.device("meta"), torch.float32).encode_pixels(
        pixels(config, 3)
    )

    assert torch.equal(found, torch.full((3, 4), 0.5))
