"""Towers run in inference mode, without autocast and TF32, and the caller's settings return."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from tests.engine.support import CONFIGS, CPU, engine_of, network_of, pixels, rows
from tests.support import run_python
from zeroshot.engine.torch_state import inference

CUDA = torch.device("cuda")


def tf32() -> tuple[bool, bool]:
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


@pytest.fixture(params=[(True, True), (True, False), (False, True), (False, False)], ids=str)
def settings(request: pytest.FixtureRequest) -> Iterator[tuple[bool, bool]]:
    """TF32 as the caller set it, for convolutions and for matrix products."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = tf32()
    cudnn.allow_tf32, matmul.allow_tf32 = request.param
    yield request.param
    cudnn.allow_tf32, matmul.allow_tf32 = before


def test_float32_on_cuda_turns_tf32_off_and_restores_it(settings: tuple[bool, bool]) -> None:
    with inference(CUDA, torch.float32):
        assert tf32() == (False, False)

    assert tf32() == settings


def test_tf32_is_restored_after_an_error(settings: tuple[bool, bool]) -> None:
    with pytest.raises(KeyError), inference(CUDA, torch.float32):
        raise KeyError

    assert tf32() == settings
    assert not torch.is_inference_mode_enabled()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_on_cuda_does_not_change_tf32(
    settings: tuple[bool, bool], dtype: torch.dtype
) -> None:
    with inference(CUDA, dtype):
        assert tf32() == settings

    assert tf32() == settings


def test_cpu_does_not_change_tf32(settings: tuple[bool, bool]) -> None:
    with inference(CPU, torch.float32):
        assert tf32() == settings


@pytest.mark.parametrize("device", [CPU, CUDA], ids=str)
def test_inference_mode_is_on_inside_only(device: torch.device) -> None:
    with torch.enable_grad():
        with inference(device, torch.float32):
            assert torch.is_inference_mode_enabled()
            assert not torch.is_grad_enabled()
            assert torch.ones(1).is_inference()
        assert not torch.is_inference_mode_enabled()
        assert torch.is_grad_enabled()


@pytest.mark.parametrize("device", [CPU, CUDA], ids=str)
def test_autocast_of_the_caller_is_off_inside(device: torch.device) -> None:
    matrix = torch.ones(4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        with inference(device, torch.float32):
            assert not torch.is_autocast_enabled("cpu")
            assert not torch.is_autocast_enabled(device.type)
            assert (matrix @ matrix).dtype == torch.float32
        assert torch.is_autocast_enabled("cpu")
        assert (matrix @ matrix).dtype == torch.bfloat16


def test_cuda_autocast_of_the_caller_is_off_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # or torch turns autocast off
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    with torch.autocast("cuda", torch.float16):
        assert torch.is_autocast_enabled("cuda")
        with inference(CUDA, torch.float32):
            assert not torch.is_autocast_enabled("cuda")
        assert torch.is_autocast_enabled("cuda")


def test_other_threads_keep_their_state() -> None:
    seen: list[tuple[bool, bool]] = []

    def look() -> None:
        seen.append((torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")))

    with torch.autocast("cpu", torch.bfloat16), inference(CUDA, torch.float32):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()

    assert seen == [(False, False)]


def test_plain_towers_run_in_this_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """The state inside `forward` of plain modules on an accelerator, here a CPU that is renamed."""
    config = CONFIGS["one layer"]
    engine = engine_of(network_of(config), config, CPU, torch.float32, plain=True)
    monkeypatch.setattr(
        "zeroshot.engine.plain.inference",
        lambda device, dtype, **options: inference(CUDA, dtype, **options),
    )
    seen: dict[str, tuple[object, ...]] = {}

    def hook(module: torch.nn.Module, *_: object) -> None:
        seen[type(module).__name__] = (
            torch.is_inference_mode_enabled(),
            torch.is_autocast_enabled("cpu"),
            torch.is_autocast_enabled("cuda"),
            tf32(),
        )

    handle = torch.nn.modules.module.register_module_forward_pre_hook(hook)
    before = tf32()
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = True, True
    try:
        with torch.autocast("cpu", torch.bfloat16):
            engine.encode_pixels(pixels(config, 3))
            engine.encode_ids(rows(config, [3, 9]))
        assert tf32() == (True, True)
    finally:
        handle.remove()
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before

    assert {"VisionTransformer", "TextTransformer", "Block"} <= seen.keys()
    assert set(seen.values()) == {(True, False, False, (False, False))}


def test_threads_that_overlap_restore_the_setting_of_the_caller(
    settings: tuple[bool, bool],
) -> None:
    entered, leave = threading.Event(), threading.Event()

    def work() -> None:
        with inference(CUDA, torch.float32):
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=work)
    with inference(CUDA, torch.float32):
        thread.start()
        assert entered.wait(10)
    assert tf32() == (False, False)  # the other thread is still inside
    leave.set()
    thread.join()

    assert tf32() == settings


def test_tf32_is_allowed_on_request_and_restored(settings: tuple[bool, bool]) -> None:
    with inference(CUDA, torch.float32, tf32=True):
        assert tf32() == (True, True)

    assert tf32() == settings


def test_float32_of_another_thread_wins_over_tf32(settings: tuple[bool, bool]) -> None:
    with inference(CUDA, torch.float32, tf32=True):
        with inference(CUDA, torch.float32):
            assert tf32() == (False, False)
            with inference(CUDA, torch.float32, tf32=True):
                assert tf32() == (False, False)
        assert tf32() == (True, True)

    assert tf32() == settings


def test_settings_of_newer_torch_are_restored() -> None:
    code = """
import torch
from zeroshot.engine.torch_state import inference
if not hasattr(torch.backends, "fp32_precision"):
    raise SystemExit
torch.backends.fp32_precision = "tf32"  # the old settings now raise an error when they are read
parts = torch.backends.cudnn.conv, torch.backends.cuda.matmul
with inference(torch.device("cuda"), torch.float32):
    assert [part.fp32_precision for part in parts] == ["ieee", "ieee"]
assert [part.fp32_precision for part in parts] == ["tf32", "tf32"]
torch.backends.fp32_precision = "ieee"  # inherited, as before
assert [part.fp32_precision for part in parts] == ["ieee", "ieee"]
parts[1].fp32_precision = "tf32"
with inference(torch.device("cuda"), torch.float32):
    assert [part.fp32_precision for part in parts] == ["ieee", "ieee"]
with inference(torch.device("cuda"), torch.float32, tf32=True):
    assert [part.fp32_precision for part in parts] == ["tf32", "tf32"]
assert [part.fp32_precision for part in parts] == ["ieee", "tf32"]
"""
    assert run_python(code, "-W", "error") == ""
