"""The self-check finds a fault and names the stage it is in."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from PIL import Image

from zeroshot import engine
from zeroshot.diagnostics import selfcheck
from zeroshot.images import preprocess as pixels
from zeroshot.tokenizers import clip as tokenizer

CPU = torch.device("cpu")
NOISE = [-0.46879708766937256, -0.392880916595459, 0.8597967624664307]  # of the name "x"
PICTURE = "d3a99b1829d09d9f"  # start of the sha256 of its bytes


def findings(dtype: torch.dtype = torch.float32) -> dict[str, str]:
    """Return problems by stage, "" where a stage passes."""
    return {finding.stage: finding.problem for finding in selfcheck.stages(CPU, dtype)}


def wrong(found: dict[str, str]) -> list[str]:
    """Return the stages that fail, each kind once."""
    return sorted({stage.partition(" (")[0] for stage, problem in found.items() if problem})


def test_every_stage_of_a_sound_installation_passes() -> None:
    found = findings()

    assert len(found) == 9
    assert wrong(found) == []


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_towers_run_in_float32_and_in_the_chosen_precision(dtype: torch.dtype) -> None:
    found = findings(dtype)

    assert len(found) == 15
    assert wrong(found) == []


def test_the_measured_error_is_below_a_tenth_of_the_tolerance() -> None:
    tower = selfcheck.NETWORKS["ViT, QuickGELU"]
    expected = torch.tensor(selfcheck.reference()["towers"]["ViT, QuickGELU"]["image"])

    found = selfcheck._plain(tower, "image")

    assert selfcheck._distance(found, expected) < selfcheck.TOLERANCE["float32"] / 10


def test_the_wrong_activation_exceeds_the_tolerance_20_times() -> None:
    config = selfcheck.NETWORKS["ViT, QuickGELU"]
    other = replace(config, vision=replace(config.vision, activation="gelu"))
    expected = torch.tensor(selfcheck.reference()["towers"]["ViT, QuickGELU"]["image"])

    found = selfcheck._plain(other, "image")

    assert selfcheck._distance(found, expected) > 20 * selfcheck.TOLERANCE["float32"]


def test_weights_and_image_are_the_same_on_every_machine() -> None:
    assert selfcheck.noise("x", 3).tolist() == pytest.approx(NOISE, abs=0)
    assert hashlib.sha256(selfcheck.sample_image().tobytes()).hexdigest().startswith(PICTURE)


def keep_case(text: str) -> str:
    return " ".join(text.split())


def merge_nothing(self: tokenizer.ClipTokenizer, symbols: list[str]) -> list[int]:
    return [1 for _ in symbols]


TOKENIZER_FAULTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "case is kept": lambda patch: patch.setattr(tokenizer, "clean", keep_case),
    "nothing is merged": lambda patch: patch.setattr(
        tokenizer.ClipTokenizer, "_merge", merge_nothing
    ),
}


@pytest.mark.parametrize("fault", TOKENIZER_FAULTS)
def test_a_tokenizer_fault_fails_only_the_tokenizer_stage(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    TOKENIZER_FAULTS[fault](monkeypatch)

    found = findings()

    assert wrong(found) == ["tokenizer"]
    assert "as from OpenAI's tokenizer, got" in found["tokenizer"]


RESIZE_FAULTS = {
    "nearest neighbour": Image.Resampling.NEAREST,
    "the other filter": Image.Resampling.LANCZOS,
    "no antialias to speak of": Image.Resampling.HAMMING,
}


@pytest.mark.parametrize("fault", RESIZE_FAULTS)
def test_a_resize_fault_fails_only_the_resize_stages(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("bicubic", "bilinear"):
        monkeypatch.setitem(pixels.RESAMPLING, name, RESIZE_FAULTS[fault])

    found = findings()

    assert wrong(found) == ["resize"]
    assert len([problem for problem in found.values() if problem]) == 2
    assert "gray levels" in next(filter(None, found.values()))


def test_a_crop_that_is_one_pixel_off_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    crop = Image.Image.crop

    def shifted(self: Image.Image, box: Any = None) -> Image.Image:
        left, top, right, bottom = box
        return crop(self, (left + 1, top, right + 1, bottom))

    monkeypatch.setattr(Image.Image, "crop", shifted)

    assert wrong(findings()) == ["resize"]


@pytest.mark.parametrize(("way", "tower"), [("encode_pixels", "image"), ("encode_ids", "text")])
@pytest.mark.parametrize(
    "spoil",
    [lambda e: e.flip(0), lambda e: e + 1e-3, lambda e: e * float("nan")],
    ids=["order lost", "a little off", "not a number"],
)
def test_an_engine_fault_is_distinguished_from_a_network_fault(
    way: str, tower: str, spoil: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = getattr(engine.Engine, way)
    monkeypatch.setattr(engine.Engine, way, lambda *a, **options: spoil(run(*a, **options)))

    found = findings()

    assert wrong(found) == [f"{tower} tower"]
    problems = list(filter(None, found.values()))
    assert len(problems) == len(selfcheck.NETWORKS)
    assert all("so the engine on cpu is wrong" in problem for problem in problems)


def test_a_network_fault_is_distinguished_from_an_engine_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    build = selfcheck.network

    def spoilt(config: Any) -> Any:
        made = build(config)
        made.text.ln_final.weight *= 1.5
        return made

    monkeypatch.setattr(selfcheck, "network", spoilt)

    found = findings()

    assert wrong(found) == ["text tower"]
    assert all("the plain network is wrong too" in p for p in found.values() if p)


def test_a_stage_that_raises_fails_and_the_others_still_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(engine.Engine, "encode_ids", fail)

    found = findings()

    assert wrong(found) == ["text tower"]
    assert "RuntimeError: no such kernel" in next(filter(None, found.values()))
