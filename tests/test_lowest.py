"""`make test-lowest` installs the minimums that pyproject.toml declares, and no others."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "lowest.py"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]


def script() -> Any:
    spec = importlib.util.spec_from_file_location("lowest", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def printed(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "requirement",
    [*PROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra)],
)
def test_every_declared_dependency_has_a_minimum_version(requirement: str) -> None:
    assert re.match(r"[\w.-]+(\[\w+\])?>=\d[\d.]*(,|$)", requirement), requirement


def test_constraints_are_the_minimums_of_the_core_and_of_the_extras_but_dev() -> None:
    done = printed()

    assert done.returncode == 0, done.stderr
    extras = [line for name, extra in EXTRAS.items() if name != "dev" for line in extra]
    declared = [
        re.sub(r"\[.*\]", "", line.split(",")[0]) for line in (*PROJECT["dependencies"], *extras)
    ]
    expected = {line.replace(">=", "==") for line in declared}  # extras share packages
    assert done.stdout.splitlines() == sorted(expected)


def test_a_dependency_without_a_minimum_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text('[project]\ndependencies = ["numpy>=1.26", "regex<2027"]\n')

    done = printed(str(path))

    assert done.returncode == 1
    assert "got 'regex<2027'" in done.stderr


@pytest.mark.parametrize(
    ("requirement", "expected"),
    [
        ("torch>=2.6", ("torch", "2.6")),
        ("huggingface_hub[cli] >= 1.17, <3", ("huggingface_hub", "1.17")),
        ("pillow-heif<2,>=1.3 ; python_version > '3.11'", ("pillow-heif", "1.3")),
    ],
)
def test_extras_upper_bounds_and_markers_are_ignored(
    requirement: str, expected: tuple[str, str]
) -> None:
    assert script().minimum(requirement) == expected


def test_two_different_minimums_of_one_package_are_an_error() -> None:
    project = {"dependencies": ["a>=1"], "optional-dependencies": {"b": ["a>=2"]}}

    with pytest.raises(ValueError, match="a has two minimums: 1 and 2"):
        script().constraints(project)
