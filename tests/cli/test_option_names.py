"""Errors of Python name the options of the command line."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zeroshot.cli import main
from zeroshot.cli.option_names import named_options, with_options
from zeroshot.errors import InputError, SaveError


def translate(message: str, command: str = "label") -> str:
    """Return a message as a command prints it."""
    root = click.Context(main, info_name="zeroshot")
    with click.Context(main.commands[command], parent=root):
        return with_options(message)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("another folder, or force=True to start over", "another folder, or --force to start over"),
        ("with shard='1/2' and shard='2/2'; if", "with --shard 1/2 and --shard 2/2; if"),
        ("got limit=5 and shard=1/2; omit one", "got --limit 5 and --shard 1/2; omit one"),
        ("example retry_errors=['timeout', 'io']", "example --retry-errors timeout,io"),
        ("example max_errors=100 or '5%'", "example --max-errors 100 or '5%'"),
        ("failed, more than max_errors=2.5%", "failed, more than --max-errors 2.5%"),
        ("format='csv' cannot store", "--format csv cannot store"),
        ("out='a b' is a file", "--out 'a b' is a file"),
        ("a run with part_rows 2, got 4", "a run with --part-rows 2, got 4"),
        ("a run with none_of_these, got", "a run with --none, got"),
        ("one that zeroshot.label wrote, got", "one that `zeroshot label` wrote, got"),
        ("run `zeroshot label` again", "run `zeroshot label` again"),
        ("my_part_rows/part_rows.csv: no such file", "my_part_rows/part_rows.csv: no such file"),
        ("stop=5; nonsense=True", "stop=5; nonsense=True"),
    ],
)
def test_arguments_become_options(message: str, expected: str) -> None:
    assert translate(message) == expected


def test_arguments_of_a_command_are_in_capitals() -> None:
    assert translate("file='a.txt' must end", "merge") == "FILE a.txt must end"


def test_a_command_names_options_of_label_too() -> None:
    assert translate("again with embeddings=True", "find") == "again with --embeddings"


@pytest.mark.parametrize("path", ["labels", "head", "out", "part_rows", "max_errors", "folder"])
def test_a_path_at_the_start_of_a_message_is_no_option(path: str) -> None:
    message = f"{path}: expected a folder; pass force=True"

    for command in ("label", "sort"):
        assert translate(message, command) == f"{path}: expected a folder; pass --force"


def test_no_error_of_the_package_names_an_argument() -> None:
    folder = Path(main.callback.__code__.co_filename).parents[1] / "bulk"  # type: ignore[union-attr]
    text = "\n".join(path.read_text("utf-8") for path in folder.glob("*.py"))
    written = re.findall(r"(?<=[ (\"])(?:force|allow_gaps|embeddings|max_errors)=True", text)

    assert written
    assert "=True" not in translate("; ".join(written), "relabel")


@given(st.text(max_size=200))
def test_any_text_is_accepted(text: str) -> None:
    assert isinstance(translate(text), str)


def test_an_error_keeps_its_kind_and_other_facts() -> None:
    root = click.Context(main, info_name="zeroshot")
    with click.Context(main.commands["label"], parent=root):
        with pytest.raises(InputError, match=r"^pass --force$"), named_options():
            raise InputError("pass force=True")
        with pytest.raises(SaveError, match="disk full"), named_options():
            raise SaveError("disk full", source="a")
