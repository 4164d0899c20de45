"""The number of calls inside the package stays low: short paths are easier to follow."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import zeroshot
from zeroshot.engine.cpu import backend

PHOTO = Path(__file__).parents[1] / "examples" / "photos" / "cat.jpg"
CROSSINGS = 35  # from one module of the package into another, to classify one image
CALLS = 2_500  # of functions of the package, to load the embedded model


def calls_during(work: Callable[[], Any]) -> list[tuple[str, str]]:
    """Return the caller's and the callee's module of each call of a function of the package."""
    calls: list[tuple[str, str]] = []

    def module(frame: FrameType | None) -> str:
        while frame is not None:
            name: str = frame.f_globals.get("__name__", "")
            if name.startswith("zeroshot."):
                return name
            frame = frame.f_back
        return ""

    def record(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_globals.get("__name__", "").startswith("zeroshot."):
            calls.append((module(frame.f_back), module(frame)))

    before = sys.getprofile()
    sys.setprofile(record)
    try:
        work()
    finally:
        sys.setprofile(before)
    return calls


def test_classifying_one_image_crosses_modules_at_most_35_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # while other programs use the cores, a worker embeds the image
    monkeypatch.setattr(zeroshot.Model, "is_busy", False)
    monkeypatch.setattr(backend, "BUSY_SECONDS", 0.0)
    classifier = zeroshot.load("mini", device="cpu").classifier(["cat", "dog", "rabbit"])
    classifier(PHOTO)

    calls = calls_during(lambda: classifier(PHOTO))

    crossings = [call for call in calls if call[0] != call[1]]
    assert ("zeroshot.classifier", "zeroshot.embedding") in crossings
    assert len(crossings) <= CROSSINGS


def test_loading_the_embedded_model_makes_at_most_2500_calls() -> None:
    load = zeroshot.load  # imports the modules, which is not counted

    calls = calls_during(lambda: load("mini"))

    assert 100 < len(calls) <= CALLS
