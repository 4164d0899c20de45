"""The commands of docs/label.md run one after another, and the page names what exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import get_args

import pytest
from click.testing import CliRunner

from zeroshot.bulk.output import Output
from zeroshot.bulk.retrying import KINDS
from zeroshot.cli import main
from zeroshot.errors import ImageProblem

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "label.md").read_text("utf-8")
REFERENCE = (ROOT / "docs" / "cli.md").read_text("utf-8")


def commands() -> list[str]:
    """Return the commands of the page that run on the example photographs."""
    found = re.findall(r"^```(?:sh|bash)\n(.*?)^```$", PAGE, re.M | re.S)
    return [line for block in found for line in block.splitlines()]


def own_options(name: str) -> set[str]:
    """Return the long options of a command that classify and encode do not have."""
    others = {
        option
        for each in ("classify", "encode")
        for parameter in main.commands[each].params
        for option in parameter.opts
    }
    own = {option for parameter in main.commands[name].params for option in parameter.opts}
    return {option for option in own - others if option.startswith("--")}


def test_the_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    assert len(commands()) == 6

    for command in commands():
        result = CliRunner().invoke(main, shlex.split(command)[1:])
        assert result.exit_code == 0, f"{command}\n{result.output}"

    written = {re.sub("-[0-9a-f]{16}", "-*", path.name) for path in Path("photos").iterdir()}
    names = {"part-00000-000000.parquet", "_run.json", "_inputs-00000-*.parquet", "_SUCCESS.json"}
    assert written == names
    assert len(list(Output.open("places").rows())) == 10
    assert len(Path("places.csv").read_text("utf-8").splitlines()) == 11
    columns = next(iter(Output.open("photos").rows()))
    assert [name for name in columns if f"`{name}`" not in PAGE] == []


def test_every_option_of_label_is_on_the_page() -> None:
    assert [name for name in sorted(own_options("label")) if f"`{name}" not in PAGE] == []


@pytest.mark.parametrize("name", ["find", "label", "merge", "relabel", "sort", "status", "tag"])
def test_every_option_of_the_table_commands_is_in_the_reference(name: str) -> None:
    missing = [option for option in sorted(own_options(name)) if f"`{option}" not in REFERENCE]

    assert [option for option in missing if f" {option} " not in REFERENCE] == []
    assert f"`zeroshot {name} " in REFERENCE


def test_every_kind_of_error_is_on_the_page() -> None:
    assert set(get_args(ImageProblem)) <= KINDS
    assert [kind for kind in sorted(KINDS) if f"`{kind}`" not in PAGE] == []
