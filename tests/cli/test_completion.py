"""Shell completion: scripts, and the names of models, prompt sets and label sets."""

from __future__ import annotations

import shutil
import subprocess
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
    ],
)
def test_names_are_completed(words: list[str], expected: list[str]) -> None:
    assert complete(*words) == expected
