"""Timing helpers of the benchmark and its report."""

from __future__ import annotations

import math
from copy import copy
from pathlib import Path
from typing import Any

import pytest
import torch

import zeroshot
from tests.checkpoint import families
from zeroshot import Model
from zeroshot.diagnostics import bench
from zeroshot.diagnostics.bench import (
    Rounds,
    alternate,
    draw,
    flop_per_image,
    gemm,
    measure,
    random_pixels,
)
from zeroshot.engine import Engine, runner
from zeroshot.engine.cuda.backend import CudaBackend
from zeroshot.nn.network import Network
from zeroshot.spec import NetworkConfig, TextConfig, ViTConfig

SMALL = NetworkConfig(
    16,
    ViTConfig(32, 8, 32, 2, 2, 128, "quick_gelu"),
    TextConfig(77, 600, 32, 2, 2, 128, "quick_gelu"),
)


def test_ratios_are_medians_within_rounds() -> None:
    rounds = Rounds({"ours": [1.0, 1.0, 4.0], "theirs": [2.0, 3.0, 8.0]}, {"float32": [1.0] * 3})

    assert rounds.ratio("ours", "theirs") == 2.0
    assert rounds.median("ours") == 1.0
    assert rounds.share("theirs", flop=1.5e9, dtype="float32") == 0.5


def test_contenders_alternate_forward_and_backward() -> None:
    seen: list[str] = []

    alternate({"a": lambda: seen.append("a"), "b": lambda: seen.append("b")}, rounds=2)

    assert "".join(seen) == "ababba"


def test_the_matrix_multiplication_probe_returns_a_finite_speed() -> None:
    assert 0 < gemm("float32", side=32) < math.inf


def test_tf32_is_measured_with_tf32_and_compared_with_float32(
    tiny: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(runner.BACKENDS, "cpu", CudaBackend)  # simulated; CPUs have no TF32
    made: list[Engine] = []
    model = copy(tiny)
    model._engine = Engine(*tiny._engine._arguments, tf32=True)

    def make(*given: Any, **options: Any) -> Engine:
        made.append(Engine(*given, **options))
        return made[-1]

    monkeypatch.setattr(bench, "Engine", make)

    report = measure(model, rounds=1, batch=2, labels=2)

    assert "float32" in repr(tiny)
    assert "tf32" in repr(model)
    assert [engine.tf32 for engine in made] == [False, True, False]  # the first is the plain one
    assert {found.dtype for found in report.findings} == {"tf32", "float32"} == set(report.gemms)


def test_operations_per_image_match_the_linear_layers() -> None:
    tokens, width = 1 + (32 // 8) ** 2, 32
    linear = 2 * (tokens - 1) * 3 * 64 * width + 2 * 24 * tokens * width**2 + 2 * width * 16

    found = flop_per_image(Network(SMALL).visual, 32)

    assert linear <= found < 1.3 * linear  # and attention


def test_random_weights_give_different_images_different_embeddings() -> None:
    network = Network(SMALL)
    network.load_state_dict(draw(SMALL))
    with torch.inference_mode():
        found = torch.nn.functional.normalize(network.visual(random_pixels(4, 32)))

    assert float((found @ found.T - torch.eye(4)).max()) < 0.99


def test_the_report_compares_the_engine_with_the_plain_network(tiny: Model) -> None:
    report = measure(tiny, rounds=1, batch=3, labels=2)

    assert {finding.work for finding in report.findings} == {"3 images", "1 image", "16 sentences"}
    assert all(finding.agreement > 0.98 for finding in report.findings)
    assert report.machine["torch"] == torch.__version__


def test_sentences_that_are_too_long_for_a_model_are_truncated(tmp_path: Path) -> None:
    folder = families.write_transformers(tmp_path / "siglip")  # reads 8 tokens
    report = measure(zeroshot.load(folder, device="cpu"), rounds=1, batch=2, labels=2)

    assert all(finding.agreement > 0.98 for finding in report.findings)
