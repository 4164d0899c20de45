"""What the README and docs tell a reader to run does run, from a checkout as they would."""

from __future__ import annotations

import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from zeroshot.cli import main

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md"), ROOT / "prompts" / "README.md"])


def blocks(page: Path, language: str) -> list[str]:
    """Return a page's fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)


PYTHON = [page for page in PAGES if blocks(page, "python")]
COMMANDS = [
    line.split("#")[0].strip()
    for page in PAGES
    for block in blocks(page, "sh")
    for line in block.splitlines()
    if line.startswith("zeroshot ")
]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like the checkout and may be written to."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", PYTHON, ids=lambda page: page.name)
def test_the_python_of_a_page_runs_from_top_to_bottom(page: Path, checkout: Path) -> None:
    names: dict[str, object] = {}

    for block in blocks(page, "python"):
        exec(compile(block, str(page), "exec"), names)

    assert names


@pytest.mark.parametrize("command", COMMANDS)
def test_a_documented_command_runs(command: str, checkout: Path) -> None:
    words, _, target = command.partition(" > ")

    result = CliRunner().invoke(main, shlex.split(words)[1:])

    assert result.exit_code == 0, result.output
    assert target or "--out" in words or result.stdout


def test_the_readme_has_python_and_commands() -> None:
    assert blocks(ROOT / "README.md", "python")
    assert len(COMMANDS) >= 5


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_a_page_exist(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text("utf-8"))

    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_changelog_has_an_unreleased_section() -> None:
    assert "## Unreleased" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_every_module_is_in_the_architecture_diagram() -> None:
    drawing = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    package = ROOT / "src" / "zeroshot"
    rooms = [path.stem for path in package.glob("*.py")]
    rooms += [path.parent.name for path in package.glob("*/__init__.py")]

    assert [name for name in rooms if f"`{name}" not in drawing] == []


EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda script: script.name)
def test_an_example_runs_and_is_short(script: Path, tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )

    assert result.returncode == 0, result.stderr
    assert result.stdout.strip()
    assert len(script.read_text("utf-8").splitlines()) <= 45


def test_the_linear_probe_says_how_to_install_scikit_learn() -> None:
    code = (
        "import runpy, sys; sys.modules['sklearn'] = None; "
        f"runpy.run_path({str(ROOT / 'examples' / 'linear_probe.py')!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "This example requires scikit-learn; run: pip install scikit-learn"
    ]


def test_eight_of_ten_photographs_get_their_right_label() -> None:
    photographs = runpy.run_path(str(ROOT / "examples" / "photographs.py"))

    assert photographs["main"]() >= 8
