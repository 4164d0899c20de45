"""Options that choose a model are shared by commands and passed to `zeroshot.load`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from PIL import Image

import zeroshot
from tests.support import photograph
from zeroshot.bulk.output import Output
from zeroshot.cli import main
from zeroshot.cli.options import MODEL_OPTIONS, ModelChoice, images_argument, model_options

DEFAULT = ModelChoice("ViT-B/32", True, None, None, "exact", None, None, False)


@click.command()
@images_argument
@click.option("--top", default=5)
@model_options
def command(images: tuple[str, ...], top: int, choice: ModelChoice) -> None:
    """Print what the options are parsed as."""
    click.echo(repr((images, top, choice)))


def parsed(*arguments: str) -> str:
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    return result.output.strip()


def test_options_default_to_the_default_model() -> None:
    assert parsed("a.jpg") == repr((("a.jpg",), 5, DEFAULT))


def test_every_option_is_part_of_the_choice(tmp_path: Path) -> None:
    lock = tmp_path / "zeroshot.lock"
    lock.touch()

    found = parsed(
        *("a.jpg", "b.jpg", "--top", "2", "-m", "mini", "--device", "cpu", "--dtype", "bfloat16"),
        *("--decode", "fast", "--like", "RN50", "--lock", str(lock), "--offline"),
        *("--max-pixels", "99", "--background", "white"),
    )

    choice = ModelChoice("mini", False, "cpu", "bfloat16", "fast", "RN50", lock, True, 99, "white")
    assert found == repr((("a.jpg", "b.jpg"), 2, choice))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "Missing argument 'IMAGES...'"),
        (["a.jpg", "--decode", "draft"], "'draft' is not one of 'exact', 'fast'"),
        (["a.jpg", "--max-pixels", "0"], "0 is not in the range x>=1"),
        (["a.jpg", "--lock", "/"], "'/' is a directory"),
    ],
)
def test_invalid_options_are_usage_errors(arguments: list[str], says: str) -> None:
    result = CliRunner().invoke(command, arguments)

    assert result.exit_code == 2
    assert says in result.stderr


@pytest.mark.parametrize(
    ("text", "color"),
    [
        ("red", "red"),
        ("#ffffff", "#ffffff"),
        ("255,255,255", (255, 255, 255)),
        ("(255, 0, 9)", (255, 0, 9)),
    ],
)
def test_a_background_is_a_name_or_three_levels(text: str, color: Any) -> None:
    assert parsed("a.jpg", "--background", text) == repr(
        (("a.jpg",), 5, replace(DEFAULT, background=color))
    )


@pytest.mark.parametrize("text", ["whit", "255,255,256", "1,2"])
def test_another_background_is_rejected_with_examples(text: str) -> None:
    result = CliRunner().invoke(command, ["a.jpg", "--background", text])

    assert result.exit_code == 2
    said = " ".join(result.stderr.split())
    assert "expected a name such as white or red, #ffffff, or three levels in 0..255" in said


def test_errors_of_images_name_the_option(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(photograph()).save(path)

    result = run("classify", path, "-l", "cat,dog", "--model", "mini", "--max-pixels", "9")

    assert "(on the command line --max-pixels)" in result.stderr


def test_the_choice_is_passed_to_load(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(zeroshot, "load", lambda *a, **options: calls.append((a, options)))

    ModelChoice(
        "RN50", False, "cpu", "float32", "fast", "RN101", Path("z.lock"), True, 9, "red"
    ).load()

    assert calls == [
        (
            ("RN50",),
            {
                "device": "cpu",
                "dtype": "float32",
                "decode": "fast",
                "like": "RN101",
                "lock": Path("z.lock"),
                "offline": True,
                "max_pixels": 9,
                "background": "red",
            },
        )
    ]


@pytest.mark.parametrize("name", ["classify", "encode", "evaluate"])
def test_commands_that_run_a_model_have_every_model_option(name: str) -> None:
    found = {option for parameter in main.commands[name].params for option in parameter.opts}
    expected = {"--model", "--device", "--dtype", "--like", "--decode", "--lock", "--offline"}
    expected |= {"--max-pixels", "--background"}

    assert expected <= found
    assert len(MODEL_OPTIONS) == len(expected)


# commands whose default model is that of a table

TABLE_COMMANDS = {"find": ["a cat"], "relabel": ["--out", "new", "--labels", "red,blue"]}


@pytest.mark.parametrize("name", TABLE_COMMANDS)
def test_options_of_loading_apply_to_the_model_of_the_table(
    name: str, table: Path, loaded: dict[str, Any]
) -> None:
    words = [name, str(table), *TABLE_COMMANDS[name], "--device", "cpu", "--offline"]

    result = CliRunner().invoke(main, words)

    assert result.exit_code == 0, result.output
    assert (loaded["device"], loaded["offline"]) == ("cpu", True)
    assert loaded["name"] == Output.open(table).run["model"]
    assert loaded["dtype"] == Output.open(table).run["dtype"]


@pytest.mark.parametrize("name", TABLE_COMMANDS)
def test_the_help_of_a_command_for_tables_names_no_other_default_model(name: str, run: Any) -> None:
    text = " ".join(run(name, "--help").stdout.split())

    assert "ViT-B/32" not in text
    assert "by the name in the table" in text
