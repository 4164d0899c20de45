"""`zeroshot bench` prints a report."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import zeroshot
from zeroshot.cli import main
from zeroshot.diagnostics import bench


@pytest.mark.parametrize("layout", [[], ["--json"]], ids=["table", "json"])
def test_the_command_prints_a_report(layout: list[str], tiny_path: Path) -> None:
    found = CliRunner().invoke(main, ["bench", "--model", str(tiny_path), "--quick", *layout])

    assert found.exit_code == 0, found.output
    if layout:
        report = json.loads(found.output)
        assert report["findings"][0]["work"] == "2 images"
        assert report["feeding"]["limit"] in ("decoding", "the image tower", "neither")
        assert report["feeding"]["together"] > 0
    else:
        assert "agreement" in found.output
        assert re.search("^JPEG decoder: (simplejpeg|Pillow) ", found.output, re.MULTILINE)
        speeds = re.findall(r"matrix multiplication in .*: ([\d,.]+) GFLOP/s", found.output)
        assert speeds
        assert all(float(speed.replace(",", "")) > 0 for speed in speeds)
        assert "\nbackend: " in found.output
        assert re.search("images/s prepared, .* embedded", found.output.splitlines()[-1])


def test_the_default_is_a_model_of_random_weights(
    tiny: zeroshot.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: list[dict[str, Any]] = []
    monkeypatch.setattr(bench, "random_model", lambda **given: options.append(given) or tiny)

    found = CliRunner().invoke(main, ["bench", "--quick", "--device", "cpu", "--dtype", "float32"])

    assert found.exit_code == 0, found.output
    assert options == [{"device": "cpu", "dtype": "float32"}]
    assert found.output.startswith(repr(tiny))


def test_an_unknown_model_exits_with_4() -> None:
    found = CliRunner().invoke(main, ["bench", "--model", "ViT-B/23", "--quick"])

    assert found.exit_code == 4
    assert "did you mean 'ViT-B/32'?" in found.stderr
