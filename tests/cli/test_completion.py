"""Shell completion: scripts, and the names of models, prompt sets and label sets."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.shell_completion import ShellComplete

from zeroshot.cli import main
from zeroshot.cli.completion import SHELLS, VARIABLE


def complete(*words: str) -> list[str]:
    *before, incomplete = words
    found = ShellComplete(main, {}, "zeroshot", VARIABLE).get_completions(before, incomplete)
    return [item.value if item.type == "plain" else item.type for item in found]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_of_a_shell_calls_zeroshot(shell: str, run: Any) -> None:
    result = run("completion", shell)

    assert result.exit_code == 0
    assert f"{VARIABLE}={shell}_complete" in result.stdout
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=result.stdout, text=True, check=True)


def test_another_shell_is_rejected(run: Any) -> None:
    assert run("completion", "tcsh").exit_code == 2


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["mod"], ["models"]),
        (["classify", "-m", "vit-b/3"], ["ViT-B/32"]),
        (["encode", "--model", "mi"], ["mini"]),
        (["bench", "--model", "mi"], ["mini"]),
        (["models", "mini"], ["mini"]),
        (["classify", "-l", "cifar"], ["cifar10", "cifar100"]),
        (["classify", "-l", "photo"], ["file"]),
        (["classify", "-p", "photo"], ["photo"]),
        (["prompts", "imagenet"], ["imagenet", "imagenet7"]),
        (["classify", "-m", "./weights"], ["file"]),
        (["classify", "exam"], ["file"]),
        (["encode", "exam"], ["file"]),
        (["convert", "exam"], ["file"]),
        (["convert", "mi"], ["mini"]),
        (["convert", "a.pt", "b"], ["file"]),
        (["convert", "--like", "mi"], ["mini"]),
        (["classify", "--like", "mi"], ["mini"]),
        (["lock", "a", "mi"], ["mini"]),
        (["classify", "-l", "@cifar"], ["@cifar10", "@cifar100"]),
        (["label", "exam"], ["file"]),
        (["label", "--out", "ou"], ["dir"]),
        (["label", "-l", "cifar"], ["cifar10", "cifar100"]),
        (["label", "--format", "p"], ["parquet"]),
        (["label", "--retry-errors", "io,ti"], ["io,timeout"]),
        (["label", "a", "--ret"], ["--retry-errors"]),
        (["relabel", "out", "-m", "mi"], ["mini"]),
        (["status", "ou"], ["dir"]),
        (["find", "table", "a cat", "--sheet", "ca"], ["file"]),
    ],
)
def test_names_are_completed(words: list[str], expected: list[str]) -> None:
    assert complete(*words) == expected


def test_label_files_are_completed_after_an_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pets.txt").touch()
    Path("petsets").mkdir()

    assert complete("classify", "-l", "@pe") == ["@pets.txt", "@petsets/"]


def test_the_help_of_completion_prints_no_control_sequence(run: Any) -> None:
    printed = run("completion", "--help").stdout

    assert "\\b" not in printed
    assert '\n      eval "$(zeroshot completion bash)"\n      eval "$(' in printed


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")
@pytest.mark.parametrize(
    ("line", "word", "expected"),
    [
        ("zeroshot classify -m RN50:yf", "yf", ["yfcc15m"]),
        ("zeroshot classify --model=min", "min", ["mini"]),
        ("zeroshot classify --model=RN50:cc", "cc", ["cc12m"]),
        ("zeroshot models RN50:", "", ["yfcc15m", "cc12m"]),
        ("zeroshot classify -l @stl", "@stl", ["@stl10"]),
        ("zeroshot classify -l @stl", "stl", ["stl10"]),
        ("zeroshot mode", "mode", ["models"]),
        ("zeroshot classify exam", "exam", ["option -o default"]),
        ("zeroshot classify -l @pe", "@pe", ["option -o nospace", "@pets/"]),
    ],
)
def test_bash_completes_the_part_of_a_word_after_a_colon_or_equals_sign(
    line: str,
    word: str,
    expected: list[str],
    run: Any,
    tmp_path: Path,
    subprocess_environment: dict[str, str],
) -> None:
    (tmp_path / "pets").mkdir()
    script = f"""
    {run("completion", "bash").stdout}
    zeroshot() {{ "{sys.executable}" -m zeroshot; }}
    compopt() {{ echo "option $*"; }}
    COMP_LINE="{line}" COMP_POINT={len(line)}
    _zeroshot_completion zeroshot "{word}"
    printf '%s\n' "${{COMPREPLY[@]}}"
    """

    done = subprocess.run(
        ["bash", "-c", script],
        env=subprocess_environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )

    assert [each for each in done.stdout.splitlines() if each] == expected
