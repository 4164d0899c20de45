"""A wrong argument of any command is a short message and a documented exit code."""

from __future__ import annotations

import itertools
import re
import shutil
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from huggingface_hub import constants
from PIL import Image

import zeroshot
from tests.wrong_values import LONG
from zeroshot import cli
from zeroshot.cli import main
from zeroshot.diagnostics import bench

pytestmark = pytest.mark.filterwarnings("ignore")

EXIT_CODES = {int(code) for code in re.findall(r"(?<!\d)(\d+)\s[a-z]", cli.__doc__ or "")}
USAGE = ("Usage: ", "Try '")  # lines that click adds to a message


def parameters(command: str) -> list[click.Parameter]:
    """Return the parameters of a command that take a value."""
    found = main.commands[command].params
    return [
        each
        for each in found
        if not (isinstance(each, click.Option) and (each.is_flag or each.count))
    ]


# `serve` runs until it is stopped; test_serve.py has its wrong arguments
COMMANDS = [each for each in sorted(main.commands) if each != "serve" and parameters(each)]

# Arguments of a process cannot contain NUL. A byte that is not UTF-8 becomes half a character.
VALUES = {
    "nothing": "",
    "a space": " ",
    "a newline": "cat\ndog",
    "long text": "a" * LONG,
    "many labels": ",".join(map(str, range(1000))),
    "a long path": "/" + "folder/" * 500,
    "a long name with a suffix": "a" * LONG + ".csv",
    "an invalid byte": "\udc80",
    "an invalid byte in a path": "\udc80/\udc80.txt",
    "a control character": "\x1b[31m",
    "zero": "0",
    "a negative number": "-1",
    "a fraction": "3.5",
    "not a number": "nan",
    "infinity": "inf",
    "a large number": "9" * 30,
    "standard input": "-",
    "an unknown option": "--no-such-option",
    "a long option": "--" + "a" * LONG,
    "a slot": "{}",
    "two slots": "{} and {}",
    "a list that does not end": "[",
    "an object of numbers": '{"cat": 5}',
    "nested lists": "[" * 5000,
    "a quote": '"cat,dog',
    "a pattern": "[a-",
    "a pattern without matches": "*.nothing",
    "a long pattern": "*" + "a" * LONG,
    "a mark": "@",
    "a marked file": "@missing.txt",
    "a URL without a host": "http://",
    "a URL with a wrong host": "http://[",
    "a URL of nobody": "http://127.0.0.1:9/cat.jpg",
    "a URL of another kind": "ftp://127.0.0.1/cat.jpg",
    "an empty data URI": "data:,",
    "the home of nobody": "~no-such-user/folder",
    "a repository": "owner/name",
    "a repository with a long name": "owner/" + "a" * LONG,
    "a missing file": "missing.bin",
    "a missing file in a missing folder": "missing/file.npy",
    "a folder": "folder",
    "an empty file": "empty.json",
    "a file of text": "notes.txt",
    "a file in a file": "notes.txt/file.csv",
    "a text file named as weights": "notes.safetensors",
}


def valid(tiny_path: Path, photo: Path) -> dict[str, list[str]]:
    """Return arguments of every command that make it succeed."""
    model = f"--model={tiny_path}"
    table = ["--labels=cat,dog", "--out=new.table", model]
    return {
        "bench": ["--quick", model],
        "calibrate": ["many", "--head=head.safetensors", "--output=new.safetensors", model],
        "classify": [str(photo), "--labels=cat,dog", "--output=new.csv", model],
        "completion": ["bash"],
        "convert": [str(tiny_path), "new.safetensors"],
        "encode": [str(photo), "--output=new.npy", model],
        "evaluate": ["truth.csv", "--labels=cat,dog", "--report=new.html", model],
        "find": ["table", "cat", model],
        "label": [str(photo), *table],
        "lint": ["cat,dog", "--images=truth.csv", model],
        "lock": ["mini", "--output=new.lock"],
        "merge": ["table", "new.csv"],
        "models": ["mini"],
        "prompts": ["photo"],
        "relabel": ["table", *table],
        "sort": ["table", "--into=new.folder"],
        "status": ["table"],
        "tag": ["table"],
    }


@pytest.fixture
def workplace(
    tmp_path: Path, hub_cache: Path, monkeypatch: pytest.MonkeyPatch, tiny: zeroshot.Model
) -> Path:
    """A working folder with a few files, without a network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(bench, "measure", lambda *_, **__: bench.Report({}, {}, []))  # is slow
    Path("folder").mkdir()
    for number in range(20):
        path = Path("many") / ("cat" if number % 2 else "dog") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(path)
    tiny.head(["cat", "dog"]).save("head.safetensors")
    Image.new("RGB", (8, 8)).save("a.png")
    Path("truth.csv").write_text("path,label\na.png,cat\n")
    Path("empty.json").touch()
    Path("notes.txt").write_text("the first line\nthe second line\n")
    Path("notes.safetensors").write_text("not weights")
    return tmp_path


def replaced(words: list[str], parameter: click.Parameter, value: str) -> list[str]:
    """Return the arguments of a command with another value of one parameter."""
    if isinstance(parameter, click.Argument):
        place = {"target": 1, "file": 1, "text": 1}.get(str(parameter.name), 0)
        return [*words[:place], value, *words[place + 1 :]]
    name = parameter.opts[0] if len(parameter.opts) == 1 else parameter.opts[1]
    return [*(word for word in words if not word.startswith(f"{name}=")), f"{name}={value}"]


def problem(result: Result) -> str:
    """Return what is wrong with the outcome of a command, or ""."""
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return f"{type(result.exception).__name__}: {result.exception!s:.200}"
    if result.exit_code not in EXIT_CODES:
        return f"exit code {result.exit_code}"
    lines = [line for line in result.stderr.splitlines() if not line.startswith(USAGE)]
    length = len("\n".join(lines))
    return "" if length < 600 else f"{length} characters: {lines[0]:.200}"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_argument_is_a_short_message_and_a_documented_exit_code(
    command: str, workplace: Path, tiny: zeroshot.Model, tiny_path: Path, photos: list[Path]
) -> None:
    words = valid(tiny_path, photos[0])[command]
    if "table" in words:
        zeroshot.label("a.png", "table", labels=["cat", "dog"], model=tiny, embeddings=True)
    assert CliRunner().invoke(main, [command, *words]).exit_code == 0
    failed = {}
    for parameter, (name, value) in itertools.product(parameters(command), VALUES.items()):
        for written in workplace.glob("new.*"):
            shutil.rmtree(written) if written.is_dir() else written.unlink()
        arguments = replaced(words, parameter, value)
        if found := problem(CliRunner().invoke(main, [command, *arguments], input=b"")):
            failed[f"{parameter.name}={name}"] = found

    assert failed == {}, "\n".join(f"{case}: {found}" for case, found in failed.items())


@pytest.mark.parametrize("name", VALUES)
def test_a_wrong_command_is_a_short_message(name: str, workplace: Path) -> None:
    assert problem(CliRunner().invoke(main, [VALUES[name]])) == ""
