"""No command loses a file that it reads, or leaves a temporary file behind."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import zeroshot
from tests.checkpoint import forms
from tests.support import start_cli
from zeroshot.cli import main


@pytest.mark.parametrize("option", ["--labels", "--prompts", "--lock", "images", "link"])
def test_output_over_a_file_that_is_read_is_rejected_even_with_force(
    option: str, run: Any, photos: list[Path], tmp_path: Path
) -> None:
    path, other = tmp_path / "file.csv", tmp_path / "file.csv"
    path.write_text("label\na\nb\n")
    if option == "link":
        other = tmp_path / "link.csv"
        other.symlink_to(path)
    words = [other] if option in ("images", "link") else [option, path]
    labels = [] if option == "--labels" else ["--labels", "a,b"]

    result = run("classify", photos[0], *words, *labels, "-o", path, "--force")

    assert result.exit_code == 2
    assert "file.csv is --output and also another argument" in result.stderr
    assert path.read_text() == "label\na\nb\n"


def test_output_and_save_head_need_two_files(run: Any, photos: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "out"

    result = run("classify", photos[0], "-l", "a,b", "--json", "-o", path, "--save-head", path)

    assert (result.exit_code, path.exists()) == (2, False)


def test_output_over_standard_input_is_rejected(
    tiny_path: Path, photos: list[Path], tmp_path: Path
) -> None:
    path = tmp_path / "list.csv"
    path.write_text(f"{photos[0]}\n")
    words = ["classify", "-", "-l", "a,b", "-o", path, "--force", "--model", tiny_path]

    with path.open() as file:
        child = start_cli(*words, environment=dict(os.environ), stdin=file)
        _, says = child.communicate()

    assert child.returncode == 2
    assert "is --output and also standard input" in says
    assert path.read_text() == f"{photos[0]}\n"


def test_encode_keeps_the_list_that_it_reads(run: Any, photos: list[Path], tmp_path: Path) -> None:
    names = tmp_path / "e.npy.txt"
    names.write_text(f"{photos[0]}\n")

    result = run("encode", photos[0], names, "-o", tmp_path / "e.npy", "--force")

    assert result.exit_code == 2
    assert names.read_text() == f"{photos[0]}\n"


def test_convert_keeps_its_source(tmp_path: Path) -> None:
    forms.transformers(forms.VIT, forms.tensors_of(forms.VIT), tmp_path)
    path = tmp_path / "model.safetensors"
    content = path.read_bytes()

    result = CliRunner().invoke(main, ["convert", str(tmp_path), str(path), "--force", "--half"])

    assert result.exit_code == 2
    assert path.read_bytes() == content


def test_a_local_folder_is_not_taken_for_the_repository_of_a_head(
    tiny: zeroshot.Model, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "h.safetensors"
    replace(tiny.head(["x", "y"]), source="someone/clip").save(path)
    monkeypatch.chdir(tmp_path)
    Path("someone/clip").mkdir(parents=True)

    result = CliRunner().invoke(main, ["classify", str(photos[0]), "--head", str(path)])

    assert result.exit_code == 2
    assert "the local folder someone/clip has the same name" in result.stderr


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no such signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, getattr(signal, "SIGHUP", None)])
def test_a_terminated_command_leaves_no_temporary_file(
    number: signal.Signals, tiny_path: Path, tmp_path: Path
) -> None:
    words = ["-", "-l", "a,b", "-o", tmp_path / "out.csv", "--model", tiny_path]
    environment = dict(os.environ)
    child = start_cli("classify", *words, environment=environment, stdin=-1)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".*.tmp")) and time.monotonic() < deadline:
        time.sleep(0.05)

    child.send_signal(number)
    child.communicate()

    assert child.returncode == 128 + number
    assert list(tmp_path.glob("*out*")) + list(tmp_path.glob(".*.tmp")) == []
