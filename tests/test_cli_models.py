"""`zeroshot models` lists what can be named, and `--help` stays quick."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from click.testing import CliRunner

from zeroshot import catalog
from zeroshot.cli import main
from zeroshot.cli.models import command


def run(*arguments: str) -> str:
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def listed(*arguments: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads(run("--json", *arguments))
    return entries


def test_the_table_has_a_line_for_every_model_and_fits_a_terminal() -> None:
    lines = run().splitlines()

    assert max(map(len, lines)) <= 100
    assert [line.split("  ")[0] for line in lines[1 : 1 + len(catalog.entries())]] == (
        catalog.available_models()
    )


def test_a_row_lists_size_accuracy_speed_license_and_place() -> None:
    (line,) = (line for line in run().splitlines() if line.startswith("ViT-B-16:dfn2b "))

    cells = [cell.strip() for cell in line.split("  ") if cell.strip()]

    assert cells == ["ViT-B-16:dfn2b", "150 M", "224", "76.2 %", "fast", "Apple", "hub: apple"]


def test_the_embedded_model_is_noted_to_be_a_demo_model() -> None:
    assert "mini: demo model in the package, limited to ImageNet-like objects" in run()


def test_a_family_can_be_chosen() -> None:
    assert {entry["family"] for entry in listed("--family", "dfn")} == {"dfn"}
    assert len(listed("--family", "openai")) == 9


def test_size_and_accuracy_can_be_bounded() -> None:
    found = listed("--max-params", "160", "--min-accuracy", "70")

    assert found
    assert all(e["parameters"] <= 160 and e["accuracy"] >= 70 for e in found)
    assert len(found) < len(listed("--min-accuracy", "70"))


def test_text_is_searched_in_names_aliases_and_repositories() -> None:
    assert [entry["name"] for entry in listed("--search", "CLIP-VIT-H-14-LAION")] == [
        "ViT-H-14:laion2b_s32b_b79k"
    ]
    assert "ViT-B/32" in [entry["name"] for entry in listed("--search", "openai/clip-vit-base")]


def test_json_has_every_fact() -> None:
    (entry,) = listed("ViT-L-14:laion2b")

    assert entry["repository"] == "laion/CLIP-ViT-L-14-laion2B-s32B-b82K"
    assert entry["preprocess"] == {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
    assert entry["speed"] == "medium"


def test_one_model_is_told_in_full() -> None:
    told = dict(line.split(maxsplit=1) for line in run("ViT-B/32").splitlines())

    assert told["repository"] == "timm/vit_base_patch32_clip_224.openai"
    assert told["mirrors"] == "openai/clip-vit-base-patch32"
    assert told["activation"] == "quick_gelu"
    assert "revision" not in told  # what is not known has no line


def test_no_model_that_fits_is_said_and_is_no_failure() -> None:
    result = CliRunner().invoke(command, ["--min-accuracy", "99"])

    assert result.exit_code == 0
    assert "no model matches" in result.stderr


def test_a_wrong_name_ends_with_a_suggestion_and_the_code_for_no_model() -> None:
    result = CliRunner().invoke(main, ["models", "ViT-B/23"])

    assert result.exit_code == 4
    assert "did you mean 'ViT-B/32'?" in result.stderr


@pytest.mark.parametrize("command", ["models", "doctor"])
def test_help_imports_no_torch(command: str) -> None:
    script = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        f"import zeroshot.cli.{command} as module\n"
        "result = CliRunner().invoke(module.command, ['--help'])\n"
        "assert result.exit_code == 0, result.output\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
        "print(result.output)"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "--json" in done.stdout
