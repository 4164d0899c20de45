"""`zeroshot demo` classifies the photograph of the package."""

from __future__ import annotations

from click.testing import CliRunner

import zeroshot
from zeroshot.cli import main


def test_demo_prints_a_result_and_that_mini_is_a_demo_model() -> None:
    result = CliRunner().invoke(main, ["demo"])

    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == str(zeroshot.sample_image())
    assert lines[1].startswith("cat ")
    assert "mini is a demo model: results are only indicative." in lines
    assert "zeroshot classify" in lines[-1]
