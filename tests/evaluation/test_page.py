"""The page is one file without scripts and requests, and shows names as text."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

import zeroshot
from tests.support import axes_classifier, one_hot
from zeroshot.evaluation import page
from zeroshot.evaluation.comparison import Difference, TemplateEffect
from zeroshot.evaluation.figures import Figure

EVIL = "<script>alert('1')</script>\"&<img src=x onerror=alert(1)>"
VOID = {"meta", "img", "circle", "line", "rect", "polyline"}


class Checker(HTMLParser):
    """Collects tags and attributes, and checks that tags are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def hostile(tmp_path: Path) -> zeroshot.Report:
    """Labels, paths, prompts and templates that contain HTML."""
    path = tmp_path / "<b onclick='x'>&.png"
    Image.new("RGB", (300, 200), "red").save(path)
    classifier = axes_classifier(["red", EVIL, "blue"], prompts=EVIL, source=EVIL)
    missing = f"{tmp_path}/<i>missing.jpg"
    report = zeroshot.evaluate(classifier, [path, path, missing], [EVIL, "red", "red"], draws=9)
    figure = Figure(0.1, -0.1, 0.2)
    return replace(
        report,
        comparisons=(Difference(EVIL, figure, figure),),
        templates=(TemplateEffect(f"{EVIL} {{}}", figure, figure, figure),),
    )


def test_names_are_escaped_and_nothing_is_executed_or_requested(hostile: zeroshot.Report) -> None:
    found = Checker(page.document(hostile))

    assert not {"script", "i", "link", "iframe", "object"} & set(found.tags)
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    links = [value for name, value in found.attributes if name in ("src", "href")]
    assert links
    assert all(link.startswith("data:image/jpeg;base64,") for link in links)
    assert EVIL in found.text
    assert "<b onclick='x'>&.png" in found.text
    assert "url(" not in page.document(hostile)


def test_the_policy_forbids_scripts_and_requests(hostile: zeroshot.Report) -> None:
    found = Checker(page.document(hostile))

    assert ("content", page.POLICY) in found.attributes
    assert "default-src 'none'" in page.POLICY
    assert "script" not in page.POLICY


def test_confusions_have_thumbnails_of_files(hostile: zeroshot.Report) -> None:
    shown = page.document(hostile)

    thumbnails = re.findall(r"base64,([^']+)'", shown)
    assert len(thumbnails) == 1
    assert len(thumbnails[0]) < 12_000


def test_images_in_memory_have_thumbnails_too() -> None:
    classifier = axes_classifier(["red", "green", "blue"])
    images = [Image.new("RGB", (9, 9), "red"), Image.new("RGB", (9, 9), "blue")]

    shown = page.document(zeroshot.evaluate(classifier, images, ["blue", "blue"], draws=9))

    assert shown.count("<img") == 1
    assert "image 0, confidence" in shown


def test_a_url_is_not_downloaded_for_a_thumbnail() -> None:
    classifier = axes_classifier(["red", "green"])
    report = zeroshot.evaluate(classifier, one_hot([0], 2), ["green"], draws=9)

    shown = page.document(replace(report, sources=("https://example.org/a.jpg",)))

    assert "<img" not in shown
    assert "https://example.org/a.jpg, confidence" in shown


def test_the_page_suits_dark_mode_and_has_numbers_for_every_color(
    hostile: zeroshot.Report,
) -> None:
    shown = page.document(hostile)

    assert "color-scheme: light dark" in shown
    assert "CanvasText" in shown
    shaded = re.findall(r"<td class=n style='background[^>]*>(?:<b>)?(\d*)", shown)
    assert shaded
    assert all(shaded)
    assert "Reliability diagram as a table" in shown


def test_the_matrix_shows_the_labels_with_most_errors() -> None:
    labels = [f"label {n}" for n in range(30)]
    report = zeroshot.evaluate(
        axes_classifier(labels), one_hot([29] * 5 + [3], 30), [28] * 5 + [3], draws=9
    )

    shown = page.document(report)

    matrix = shown.partition("Confusion matrix")[2].partition("</table>")[0]
    assert "3 of 30 labels, those with most errors" in matrix
    assert re.findall(r"\d label \d+", matrix) == ["1 label 3", "2 label 28", "3 label 29"]
    assert matrix.count("<tr>") == 4
    assert ">5</td>" in matrix


def test_a_page_of_several_labels_has_their_precision() -> None:
    report = zeroshot.evaluate(
        axes_classifier(["a", "b", "c"]), one_hot([0, 1], 3), [["a", "b"], ["b"]], draws=9
    )

    found = Checker(page.document(report))

    assert "average precision" in found.text
    assert "Confusion matrix" not in found.text
    assert "svg" not in found.tags


def test_a_notebook_shows_the_same_content(hostile: zeroshot.Report) -> None:
    shown = hostile._repr_html_()

    assert shown in page.document(hostile)
    assert "<html" not in shown
    Checker(shown)


def test_a_thousand_labels_give_a_small_page() -> None:
    labels = [f"label {n}" for n in range(1500)]
    report = zeroshot.evaluate(
        axes_classifier(labels), one_hot(list(range(1500)), 1500), [0] * 1500, draws=5
    )

    shown = page.document(report)

    assert "500 more labels are in the .json report" in shown
    assert len(shown) < 300_000
