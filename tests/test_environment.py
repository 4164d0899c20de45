"""scripts/environment.py sets up the environment and runs example and checks on any system."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import environment

ROOT = Path(__file__).parents[1]
Commands = list[list[str]]


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Commands:
    """Record commands instead of running them; the environment is in a new folder."""
    found: Commands = []

    def record(*command: str, **variables: str) -> None:
        found.append([str(Path(command[0]).name), *command[1:]])
        if command[1:3] == ("-m", "venv"):
            Path(command[3]).mkdir()

    monkeypatch.setattr(environment, "call", record)
    monkeypatch.setenv("VENV", str(tmp_path / "venv"))
    monkeypatch.delenv("TORCH", raising=False)
    monkeypatch.setattr(environment.shutil, "which", lambda name: None)
    return found


def installed(commands: Commands) -> list[str]:
    return [" ".join(line[5:]) for line in commands if line[1:4] == ["-m", "pip", "install"]]


def test_try_installs_the_package_and_classifies_the_photographs(commands: Commands) -> None:
    environment.main(["try"])

    assert installed(commands) == [
        "--upgrade pip",
        "--retries 1 --timeout 10 --no-deps --extra-index-url "
        "https://download.pytorch.org/whl/cpu -c scripts/cpu.txt torch",
        "--editable .",
    ]
    assert commands[-1] == ["python", "examples/photographs.py"]


def test_an_environment_that_is_up_to_date_is_used_again(
    commands: Commands, tmp_path: Path
) -> None:
    environment.main(["dev"])
    assert installed(commands)[-1] == "--editable .[dev]"
    commands.clear()

    for command in ("dev", "try"):
        environment.main([command])

    assert commands == [["python", "examples/photographs.py"]]
    os.utime(tmp_path / "venv" / ".developed", (0, 0))  # older than pyproject.toml
    environment.main(["dev"])
    assert installed(commands) == ["--editable .[dev]"]


def test_test_runs_the_checks_and_passes_arguments_to_pytest(commands: Commands) -> None:
    environment.main(["test", "-k", "a tokenizer"])

    tools = [line[0] for line in commands if line[0] not in ("python", Path(sys.executable).name)]
    assert tools == ["ruff", "ruff", "mypy", "mypy", "lint-imports"]
    assert commands[-1] == ["python", "-m", "pytest", *environment.PARALLEL, "-k", "a tokenizer"]


def test_test_gpu_runs_pytest_alone_with_cuda_as_device(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables: list[dict[str, str]] = []
    record = environment.call

    def keep(*command: str, **given: str) -> None:
        variables.append(given)
        record(*command, **given)

    monkeypatch.setattr(environment, "call", keep)

    environment.main(["test-gpu", "-k", "stream"])

    assert commands[-1] == ["python", "-m", "pytest", "-k", "stream"]
    assert variables[-1]["ZEROSHOT_TEST_DEVICE"] == "cuda"
    assert "ruff" not in [line[0] for line in commands]


def test_a_gpu_or_torch_selects_another_build(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert environment.choose_torch() == ["torch"]
    monkeypatch.setenv("TORCH", "-c scripts/cpu.txt torch --index-url https://a.b")
    assert environment.choose_torch()[-2:] == ["--index-url", "https://a.b"]


@pytest.mark.parametrize("arguments", [[], ["install"], ["try", "x"]])
def test_other_arguments_print_the_usage(commands: Commands, arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match=r"python -m scripts\.environment try"):
        environment.main(arguments)
    assert commands == []


def test_an_unknown_command_is_named(commands: Commands) -> None:
    with pytest.raises(SystemExit, match=r"^unknown command 'foo'\n\nSet up"):
        environment.main(["foo"])
    with pytest.raises(SystemExit, match=r"^try takes no arguments, got 'now'\n"):
        environment.main(["try", "now"])


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_is_printed_on_standard_output(
    option: str, commands: Commands, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.main([option])

    assert capsys.readouterr().out.startswith("Set up a Python environment")
    assert commands == []


def test_an_old_python_is_named_before_anything_is_installed(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment.sys, "version_info", (3, 9, 1))
    with pytest.raises(
        SystemExit, match=r"Python 3\.11 or newer is required, got 3\.9; try: python3"
    ):
        environment.main(["try"])
    assert commands == []


def test_an_empty_venv_variable_does_not_make_the_checkout_an_environment(
    commands: Commands, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.setenv("VENV", "")

    environment.main(["try"])

    assert commands[0][-1] == str(tmp_path / ".venv")


def test_an_environment_without_its_python_gives_advice(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"cannot run .*python .*delete the environment's folder"):
        environment.run(tmp_path, "python")


def test_a_failed_command_ends_with_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="7"):
        environment.call(sys.executable, "-c", "raise SystemExit(7)")
    assert "failed: " in capsys.readouterr().err


def test_it_needs_the_standard_library_only() -> None:
    code = "import sys; sys.path.insert(0, '.'); import scripts.environment"
    assert subprocess.run([sys.executable, "-I", "-S", "-c", code], cwd=ROOT).returncode == 0
