"""Device and precision: what the caller asks for, or the best available."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

import zeroshot
from tests.engine.support import CPU
from zeroshot.engine import choose_dtype, device
from zeroshot.errors import InputError


def test_cpu_without_bfloat16_uses_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "cpu_has_bfloat16", lambda: False)

    assert choose_dtype(None, CPU) is torch.float32


def test_cpu_with_bfloat16_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "cpu_has_bfloat16", lambda: True)

    assert choose_dtype(None, CPU) is torch.bfloat16


def test_unknown_dtype_or_device_error_lists_valid_ones() -> None:
    with pytest.raises(InputError, match="float32, bfloat16, float16"):
        choose_dtype("int3", CPU)
    with pytest.raises(InputError, match="try 'cpu'"):
        device.choose_device("toaster")


# ---- CUDA and Apple GPUs, as torch would report them


def gpus(monkeypatch: pytest.MonkeyPatch, cuda: int = 0, mps: bool = False) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (2, "2 CUDA GPUs; expected an index from 0 to 1"),
        (7, "7 CUDA GPUs; expected an index from 0 to 6"),
    ],
)
def test_cuda_index_beyond_the_last_gpu_is_an_error_that_names_the_count(
    monkeypatch: pytest.MonkeyPatch, count: int, message: str
) -> None:
    gpus(monkeypatch, cuda=count)

    with pytest.raises(InputError, match=message) as caught:
        device.choose_device("cuda:7")

    assert "device='cuda:7'" in str(caught.value)


def test_load_rejects_a_cuda_index_beyond_the_last_gpu(
    monkeypatch: pytest.MonkeyPatch, tiny_path: Path
) -> None:
    gpus(monkeypatch, cuda=2)

    with pytest.raises(InputError, match="finds 2 CUDA GPUs"):
        zeroshot.load(tiny_path, device="cuda:7")


def test_move_to_a_cuda_index_beyond_the_last_gpu_is_rejected_at_once(
    monkeypatch: pytest.MonkeyPatch, tiny: zeroshot.Model
) -> None:
    gpus(monkeypatch, cuda=1)

    for device_name in ("cuda:7", 7, torch.device("cuda:7")):
        with pytest.raises(InputError, match="finds 1 CUDA GPUs"):
            tiny.to(device_name)
    assert tiny.to("cuda:0").device == torch.device("cuda:0")


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:1"])
def test_existing_cuda_gpu_is_chosen(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    gpus(monkeypatch, cuda=2)

    assert device.choose_device(name) == torch.device(name)
    assert device.choose_device(torch.device(name)) == torch.device(name)


@pytest.mark.parametrize(("name", "kind"), [("cuda", "CUDA"), ("cuda:7", "CUDA"), ("mps", "Apple")])
def test_missing_gpu_is_an_error(monkeypatch: pytest.MonkeyPatch, name: str, kind: str) -> None:
    gpus(monkeypatch)

    with pytest.raises(InputError, match=f"device='{name}': torch .* finds no {kind} GPU"):
        device.choose_device(name)


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(1, True, "cuda"), (1, False, "cuda"), (0, True, "mps"), (0, False, "cpu")],
)
def test_default_device_is_cuda_then_mps_then_cpu(
    monkeypatch: pytest.MonkeyPatch, cuda: int, mps: bool, expected: str
) -> None:
    gpus(monkeypatch, cuda, mps)

    assert device.choose_device(None) == torch.device(expected)


def test_default_dtype_depends_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "cpu_has_bfloat16", lambda: True)

    assert choose_dtype(None, torch.device("cuda")) is torch.float16
    assert choose_dtype(None, torch.device("mps")) is torch.float32


@pytest.mark.parametrize("given", ["bfloat16", torch.bfloat16, "torch.bfloat16"])
def test_dtype_can_be_given_by_name(given: str | torch.dtype) -> None:
    assert choose_dtype(given, CPU) is torch.bfloat16


def test_bfloat16_requires_onednn_and_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    probe = device.cpu_has_bfloat16.__wrapped__
    monkeypatch.setattr(device, "cpu_has", lambda instructions: instructions == "AMX")
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    assert probe()

    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not probe()

    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(device, "cpu_has", lambda instructions: False)
    assert not probe()


def test_unknown_instructions_count_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)

    assert not device.cpu_has("AMX")


def test_tf32_is_float32_on_cuda_and_an_error_elsewhere() -> None:
    assert choose_dtype("tf32", torch.device("cuda")) is torch.float32
    for name in ("cpu", "mps"):
        with pytest.raises(InputError, match=f"'tf32' requires a CUDA GPU, got device '{name}'"):
            choose_dtype("tf32", torch.device(name))
    assert device.allows_tf32("tf32")
    assert not any(map(device.allows_tf32, ("float32", torch.float32, None, ["tf32"])))


def test_model_keeps_tf32_on_its_device_only(
    monkeypatch: pytest.MonkeyPatch, tiny_path: Path, tiny: zeroshot.Model
) -> None:
    gpus(monkeypatch, cuda=2)
    model = zeroshot.load(tiny_path, device="cuda", dtype="tf32")

    assert model.dtype == torch.float32
    for kept in (model, model.to(), model.to("cuda:1", "tf32"), pickle.loads(pickle.dumps(model))):
        assert kept._engine.tf32
        assert kept._engine.backend.tf32
    for changed in (model.to("cuda:1"), model.to(dtype="float32"), model.to("cpu")):
        assert not changed._engine.tf32
    with pytest.raises(InputError, match="requires a CUDA GPU"):
        tiny.to("cpu").to(dtype="tf32")
    with pytest.raises(InputError, match="requires a CUDA GPU"):
        zeroshot.load(tiny_path, device="cpu", dtype="tf32")


def test_integers_are_indices_of_cuda_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, cuda=2)

    assert device.choose_device(0) == torch.device("cuda:0")
    assert device.choose_device(1) == torch.device("cuda:1")
    assert device.choose_device("1") == torch.device("cuda:1")  # from the command line
    assert device.choose_device(-1) == device.choose_device("-1") == CPU
    with pytest.raises(InputError, match="2 CUDA GPUs"):
        device.choose_device(2)
    gpus(monkeypatch)
    with pytest.raises(InputError, match=r"device=0: torch .* finds no CUDA GPU; try device='cpu'"):
        device.choose_device(0)


@pytest.mark.parametrize("wrong", [True, 1.5, ["cpu"], b"cpu", -2, "meta", torch.device("meta")])
def test_what_is_no_device_is_a_typed_error(wrong: Any) -> None:
    with pytest.raises(InputError, match="try 'cpu'"):
        device.choose_device(wrong)


def test_float16_on_a_cpu_is_warned_of_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    device._warn_of_slow_float16.cache_clear()
    monkeypatch.setattr(device, "cpu_has_bfloat16", lambda: False)
    for dtype in ("float16", torch.float16, "float32", None):
        choose_dtype(dtype, CPU)

    (record,) = caplog.records
    assert "dtype='float32' is several times faster" in record.getMessage()
