"""Drawings are valid SVG that is readable without colors."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from zeroshot.evaluation import charts
from zeroshot.evaluation.figures import Bin, Figure

SVG = "{http://www.w3.org/2000/svg}"


def parse(drawing: str) -> ET.Element:
    return ET.fromstring(drawing)


def test_each_bin_is_a_dot_with_its_interval_in_words() -> None:
    drawing = parse(charts.reliability([Bin(9, 0.5, Figure(1.0, 0.7, 1.0))]))

    dot = drawing.find("circle")
    assert dot is not None
    assert float(dot.attrib["cx"]) == charts.LEFT + charts.SIDE / 2
    assert float(dot.attrib["cy"]) == charts.TOP
    assert dot.findtext("title") == "9 images: confidence .50, accuracy 100.0 % (70.0-100.0)"
    assert len(drawing.findall("line")) == 2  # the diagonal and the interval


def test_the_curve_ends_at_the_error_of_all_images() -> None:
    drawing = parse(charts.risk_coverage([0.5, 1.0], [0.0, 0.25]))

    curve = drawing.find("polyline")
    assert curve is not None
    first, last = curve.attrib["points"].split()
    assert first == f"{charts.LEFT + charts.SIDE / 2:.1f},{charts.TOP + charts.SIDE:.1f}"
    assert last.endswith(f",{charts.TOP + 0.75 * charts.SIDE:.1f}")


def test_drawings_use_the_color_of_the_text_and_have_a_description() -> None:
    for drawing in (charts.reliability([]), charts.risk_coverage([], [])):
        assert "currentColor" in drawing
        assert "#" not in drawing
        assert parse(drawing).attrib["aria-label"]
