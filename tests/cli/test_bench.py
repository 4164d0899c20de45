"""`zeroshot bench` prints a report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from zeroshot.cli import main


@pytest.mark.parametrize("layout", [[], ["--json"]], ids=["table", "json"])
def test_the_command_prints_a_report(layout: list[str], tiny_path: Path) -> None:
    found = CliRunner().invoke(main, ["bench", "--model", str(tiny_path), "--quick", *layout])

    assert found.exit_code == 0, found.output
    if layout:
        assert json.loads(found.output)["findings"][0]["work"] == "2 images"
    else:
        assert "agreement" in found.output
