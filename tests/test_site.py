"""The documentation site builds without warnings and covers every public name and command."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import zeroshot
from zeroshot.cli import main

ROOT = Path(__file__).parents[1]
NEEDED = ("sphinx", "myst_parser", "furo", "sphinx_click")

pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in NEEDED),
    reason="the docs extra is not installed: pip install -e '.[docs]'",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site as `make docs` does: warnings and unknown references are errors."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", "-W", "--keep-going", "-n"]
    done = subprocess.run(
        [*command, "-d", str(folder / "doctrees"), str(ROOT / "docs"), str(folder / "html")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / "html"


def test_the_site_has_every_page(site: Path) -> None:
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")}

    assert pages <= {path.stem for path in site.glob("*.html")}


def test_the_api_reference_has_every_public_name(site: Path) -> None:
    page = (site / "api.html").read_text("utf-8")
    names = [f"zeroshot.{name}" for name in zeroshot.__all__]
    names += [f"zeroshot.prompts.{name}" for name in ("available", "get", "labels")]
    names += [
        f"zeroshot.errors.{name}"
        for name, value in vars(zeroshot.errors).items()
        if isinstance(value, type) and issubclass(value, zeroshot.ZeroshotError)
    ]

    missing = [n for n in names if f'id="{n}"' not in page and f'id="module-{n}"' not in page]
    assert missing == []


def test_the_command_reference_has_every_command_and_option(site: Path) -> None:
    page = (site / "cli.html").read_text("utf-8")

    for name, command in main.commands.items():
        assert f'id="zeroshot-{name}"' in page
        for parameter in command.params:
            options = [o for o in parameter.opts if o.startswith("--")]
            assert all(f'id="cmdoption-zeroshot-{name}{o[1:]}"' in page for o in options), options


def test_no_page_shows_markup_that_was_not_parsed(site: Path) -> None:
    for page in site.glob("*.html"):
        text = page.read_text("utf-8")
        assert "TypeAliasForwardRef" not in text, page.name
        assert "{eval-rst}" not in text, page.name
        assert "&lt;!-- " not in text, page.name


def test_links_out_of_the_docs_point_to_the_repository(site: Path) -> None:
    for page in site.glob("*.html"):
        assert 'href="../' not in page.read_text("utf-8"), page.name


def test_the_pictures_of_the_scores_page_are_in_the_site(site: Path) -> None:
    page = (site / "scores.html").read_text("utf-8")
    names = sorted(path.name for path in (ROOT / "docs" / "images").glob("scores-*.svg"))

    assert len(names) == 4
    for name in names:
        assert f'src="_images/{name}"' in page
        assert (site / "_images" / name).read_bytes() == (
            (ROOT / "docs" / "images" / name).read_bytes()
        )
    assert page.count("<img alt=") >= len(names)
