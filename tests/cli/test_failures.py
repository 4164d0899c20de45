"""Errors become one line on stderr and a documented exit code."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

import zeroshot
from tests.support import start_cli
from zeroshot import errors
from zeroshot.cli import failures, main

LABELS = "a cat,a dog, a car"
PHOTO = str(zeroshot.sample_image())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["classify", "a.jpg"], "either --labels or --head"),
        (
            ["classify", "a.jpg", "-l", "a,b", "--head", __file__],
            "expected no --labels with",
        ),
        (["classify", "a.jpg", "-p", "photo", "--head", __file__], "expected no --prompts with"),
        (["classify", "-l", "a,b"], "Missing argument"),
        (["classify", "a.jpg", "-l", ""], "expected labels, got --labels ''; try 'dog,cat'"),
        (["classify", "a.jpg", "-l", " , ,"], "no labels given"),
        (["classify", "a.jpg", "-l", "a,b,a"], "duplicate label 'a'"),
        (["classify", "a.jpg", "-l", "@none.txt"], "no such label file: none.txt"),
        (["classify", "a.jpg", "-l", "a,b", "-t", "0"], "expected --top of at least 1, got 0"),
        (["classify", "a.jpg", "-l", "a,b", "-t", "x"], "--top"),
        (["classify", "a.jpg", "-l", "a,b", "-p", "imagnet"], "did you mean 'imagenet'"),
        (["classify", "*.none", "-l", "a,b"], "no file matches the pattern '*.none'"),
        (["classify", "-", "-l", "a,b"], "no images found in standard input"),
        (["classify", PHOTO, "-l", "a,b", "--dtype", "int8"], "dtype='int8'"),
        (
            ["encode", "a.jpg", "-o", "x.txt"],
            "expected an --output file that ends in .npy, got 'x.txt'",
        ),
        (["encode", "-o", "x.npy"], "Missing argument"),
        (["prompts", "imagnet"], "did you mean 'imagenet'"),
        (["nonsense"], "No such command"),
        (["none.JPG"], "got 'none.JPG'; to classify images, run: zeroshot classify none.JPG"),
        (["https://example.org/a"], "run: zeroshot classify https://example.org/a --labels"),
    ],
)
def test_wrong_usage_exits_with_2(run: Any, arguments: list[str], says: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert says in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("name", ["ViT-B-33", "./none.safetensors", "/none"])
def test_an_unknown_model_exits_with_4(run: Any, name: str) -> None:
    result = run("classify", PHOTO, "-l", "a,b", "--offline", "--model", name)
    assert result.exit_code == 4
    assert result.stderr.startswith("Error: ")


def test_an_invalid_weights_file_exits_with_4(run: Any, tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(b"junk")
    result = run("classify", PHOTO, "-l", "a,b", "--model", tmp_path / "m.safetensors")
    assert result.exit_code == 4
    assert "m.safetensors" in result.stderr


def test_a_head_of_another_model_exits_with_4(run: Any, encoder: Any, tmp_path: Path) -> None:
    zeroshot.Head.build(encoder, ["a", "b"]).save(tmp_path / "h.safetensors")
    result = run("classify", PHOTO, "--head", tmp_path / "h.safetensors")
    assert result.exit_code == 4
    assert "(on the command line --labels and --save-head)" in result.stderr


def test_a_missing_head_exits_with_4(run: Any) -> None:
    result = run("classify", "a.jpg", "--head", "none.safetensors")
    assert result.exit_code == 4
    assert "none.safetensors: no such head file (working folder " in result.stderr


def test_output_that_cannot_be_written_exits_with_74(run: Any, photos: list[Path]) -> None:
    result = run("encode", photos[0], "-o", "/none/x.npy")
    assert result.exit_code == 74
    assert "/none" in result.stderr


def test_an_interrupt_exits_with_130() -> None:
    with pytest.raises(SystemExit) as caught, failures.exit_on_error():
        raise KeyboardInterrupt
    assert caught.value.code == 130


def test_an_interrupted_process_exits_with_130(
    tiny_path: Path, photos: list[Path], subprocess_environment: dict[str, str]
) -> None:
    process = start_cli(
        *("classify", "-", "-l", LABELS, "--json", "--model", tiny_path),
        environment=subprocess_environment,
        stdin=subprocess.PIPE,
    )
    process.stdin.write("".join(f"{p}\n" for p in photos) * 40)
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["source"] == str(photos[0])
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    process.stdin.close()
    stdout, stderr = process.stdout.read(), process.stderr.read()
    assert process.wait(timeout=20) == 130, stderr
    assert stderr.strip() == "Error: interrupted"
    assert all("ranking" in json.loads(line) for line in stdout.splitlines())
    process.stdout.close()
    process.stderr.close()


def test_a_closed_pipe_ends_the_process_without_an_error(
    tiny_path: Path, photos: list[Path], subprocess_environment: dict[str, str]
) -> None:
    process = start_cli(
        *("classify", *photos * 300, "-l", LABELS, "--model", tiny_path),
        environment=subprocess_environment,
    )
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=30) == 0


def test_a_full_disk_behind_standard_output_exits_with_74() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "zeroshot", "models"], stdout=full, stderr=subprocess.PIPE
        )

    assert done.returncode == 74
    assert done.stderr.decode().splitlines() == ["Error: standard output: No space left on device"]


# the context manager


def code_of(error: BaseException) -> int:
    """Return the exit code that an error ends the process with."""
    with pytest.raises(SystemExit) as caught, failures.exit_on_error():
        raise error
    assert isinstance(caught.value.code, int)
    return caught.value.code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ModelNotFound("no such model"), 4),
        (errors.UnsafeWeightsError("damaged"), 4),
        (errors.OfflineError("offline"), 4),
        (errors.CacheError("full"), 4),
        (errors.HeadMismatch("another model"), 4),
        (errors.ImageError("empty", kind="not_image"), 3),
        (errors.NonFiniteError("NaN", rows=[0]), 1),
        (OSError(28, "No space left on device", "out.npy"), 74),
        (PermissionError(13, "Permission denied", "out.npy"), 74),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_every_error_has_its_exit_code(
    error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of(error) == code

    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("Error: ")
    assert len(printed.err.splitlines()) == 1


@pytest.mark.parametrize("error", [errors.InputError("a"), errors.LabelError("b")])
def test_input_errors_become_usage_errors(error: Exception) -> None:
    with pytest.raises(click.UsageError, match=str(error)), failures.exit_on_error():
        raise error


@pytest.mark.parametrize("error", [ZeroDivisionError("bug"), OSError(2, "no file name")])
def test_unexpected_errors_are_not_hidden(error: Exception) -> None:
    with pytest.raises(type(error)), failures.exit_on_error():
        raise error


def test_a_block_without_an_error_continues() -> None:
    with failures.exit_on_error():
        done = True
    assert done


@pytest.mark.parametrize(
    ("command", "message", "expected"),
    [
        ("label", "another folder, or force=True to start", "another folder, or --force to start"),
        ("label", "expected shard='I/N', got 'x'", "expected --shard 'I/N', got 'x'"),
        ("label", "got limit=2 and shard=1/2; omit one", "got --limit 2 and --shard 1/2; omit one"),
        ("label", "expected max_errors as a number", "expected --max-errors as a number"),
        ("label", "try max_errors=100 or '5%'", "try --max-errors 100 or '5%'"),
        ("label", "expected keep as a list", "expected --keep as a list"),
        ("label", "such as keep=['a', 'b']", "such as --keep a,b"),
        ("label", "use format='parquet' or 'jsonl'", "use --format 'parquet' or 'jsonl'"),
        ("label", "a/top=5/x.csv: _run.json, not_found", "a/top=5/x.csv: _run.json, not_found"),
        ("merge", "file='x.xls' must end with .csv", "FILE 'x.xls' must end with .csv"),
        ("merge", "again, or pass allow_gaps=True", "again, or pass --allow-gaps"),
        ("relabel", "out='n' contains other files", "--out 'n' contains other files"),
        ("sort", "into='no' is a file", "--into 'no' is a file"),
        ("label", "labels: expected a folder", "labels: expected a folder"),
        ("label", "part_rows: expected a folder", "part_rows: expected a folder"),
    ],
)
def test_messages_of_functions_name_the_options_of_the_command(
    command: str, message: str, expected: str
) -> None:
    assert failures.in_options(message, main.commands[command]) == expected


def test_an_error_of_a_bulk_command_names_its_options(tmp_path: Path) -> None:
    arguments = ["-o", str(tmp_path / "out"), "--labels", "a,b", "--model", "mini"]
    found = CliRunner().invoke(main, ["label", PHOTO, *arguments, "--top", "0"])

    assert found.exit_code == 2
    assert "--top 0 must be an integer of at least 1; try --top 5" in found.output
