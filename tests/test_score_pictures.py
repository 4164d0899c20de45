"""The pictures of docs/scores.md are those of the script, small, and readable on dark pages."""

from __future__ import annotations

import re
import runpy
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "images"
NUMBER = re.compile(r"\d+(?:\.\d+)?")
PICTURES: dict[str, Callable[[], str]] = runpy.run_path(
    str(ROOT / "scripts" / "make_score_pictures.py")
)["PICTURES"]


@pytest.mark.parametrize("name", PICTURES)
def test_the_script_draws_the_picture_in_the_docs(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = (FOLDER / name).read_text("utf-8")

    drawn = PICTURES[name]()

    # equal bytes on one machine; another rounds floats differently, which moves a mark by a pixel
    assert NUMBER.sub("0", drawn) == NUMBER.sub("0", stored)
    found, expected = (np.array(NUMBER.findall(text), float) for text in (drawn, stored))
    assert np.abs(found - expected).max() <= 1


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_small_and_has_a_title_and_no_links(name: str) -> None:
    text = (FOLDER / name).read_text("utf-8")
    root = ElementTree.fromstring(text)

    assert len(text) < 20_000
    assert root.find("{http://www.w3.org/2000/svg}title") is not None
    assert "href" not in text
    assert "<script" not in text


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_has_its_own_background_and_colors_for_dark_pages(name: str) -> None:
    text = (FOLDER / name).read_text("utf-8")
    width, height = re.findall(r"viewBox='0 0 (\d+) (\d+)'", text)[0]

    assert f"<rect class='paper' width='{width}' height='{height}'" in text
    light, _, dark = text.partition("prefers-color-scheme: dark")
    for part in (light, dark):
        paper = re.findall(r"\.paper { fill: #(\w{6})", part)[0]
        ink = re.findall(r"svg { color: #(\w{6})", part)[0]
        assert contrast(paper, ink) > 7


def contrast(first: str, second: str) -> float:
    """Return the contrast ratio of two colors (WCAG 2.1, section 1.4.3)."""
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(color: str) -> float:
    parts = np.array([int(color[n : n + 2], 16) for n in (0, 2, 4)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_every_picture_is_on_the_page_with_a_description() -> None:
    page = (ROOT / "docs" / "scores.md").read_text("utf-8")

    found = dict(re.findall(r"!\[([^\]]+)\]\(images/(scores-\w+\.svg)\)", page))

    assert sorted(found.values()) == sorted(PICTURES)
    assert all(len(description) > 80 for description in found)


def test_descriptions_have_the_numbers_of_the_pictures() -> None:
    page = (ROOT / "docs" / "scores.md").read_text("utf-8")

    for description, name in re.findall(r"!\[([^\]]+)\]\(images/(scores-\w+\.svg)\)", page):
        drawn = set(re.findall(r"\d+\.\d+", re.sub(r"'[^']*'", "", (FOLDER / name).read_text())))
        assert set(re.findall(r"\d+\.\d+", description)) <= drawn
