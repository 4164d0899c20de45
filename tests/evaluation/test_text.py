"""Reports print short sentences that claim no more than their intervals."""

from __future__ import annotations

from dataclasses import replace

import pytest

import zeroshot
from tests.support import axes_classifier, one_hot
from zeroshot.evaluation import text
from zeroshot.evaluation.comparison import Difference, TemplateEffect
from zeroshot.evaluation.figures import Figure


@pytest.fixture
def report() -> zeroshot.Report:
    """Of 176 images of 3 labels, 116 are right: 65.9 %."""
    classifier = axes_classifier(["cat", "dog", "bee"], 1.0, source="ViT-B/32")
    truth = [0] * 116 + [1] * 60
    return zeroshot.evaluate(classifier, one_hot([0] * 176, 3), truth, draws=50)


def test_figures_have_their_interval_in_parentheses() -> None:
    assert text.percent(Figure(0.659, 0.5861, 0.7249)) == "65.9 % (58.6-72.5)"
    assert text.percent(Figure(1.0)) == "100.0 %"
    assert text.decimal(Figure(1.384, 0.999, 2.0)) == "1.38 (1.00-2.00)"
    assert text.points(Figure(0.012, -0.005, 0.0291)) == "+1.2 (-0.5 to +2.9)"
    assert text.points(Figure(0.0, -0.00008, 0.00008)) == "+0.00 (-0.01 to +0.01)"
    # bounds that are equal as shown are no interval
    assert text.percent(Figure(1.0, 0.99996, 1.0)) == "100.0 %"
    assert text.decimal(Figure(0.0, 0.0, 0.001)) == ".00"
    assert [text.short(x) for x in (0.06, 0.0, 1.0)] == [".06", ".00", "1.00"]


def test_the_measured_and_the_published_figure_are_side_by_side(report: zeroshot.Report) -> None:
    assert text.accuracy_lines(report)[0] == (
        "Top-1 65.9 % (58.6-72.5). Published for this model on ImageNet: 63.3; your data are not "
        "ImageNet."
    )


def test_the_calibration_error_is_read_against_chance(report: zeroshot.Report) -> None:
    ece = {**report.figures, "ece": Figure(0.06)}

    quiet = text.calibration_line(replace(report, figures=ece, floor=(0.05, 0.08)))
    loud = text.calibration_line(replace(report, figures=ece, floor=(0.03, 0.05)))

    assert quiet == (
        "ECE .06; chance alone gives .05 with 176 images. No evidence of wrong scores: chance "
        "alone stays below .08 in 95 % of cases."
    )
    assert loud.endswith(
        "The scores do not match the accuracy: chance alone stays below .05 in 95 % of cases; see "
        "calibrate."
    )


def test_a_report_names_confusions_and_the_worst_labels(report: zeroshot.Report) -> None:
    lines = str(report).splitlines()

    assert lines[0] == "176 images, 3 labels, ViT-B/32, prompts 'plain' (1 template)"
    assert "  dog -> cat, 60" in lines
    assert "  dog: 0.0 % (0.0-6.0), 60 images" in lines
    assert not any("bee:" in line for line in lines)
    assert "1 of 3 labels have no image; no figure covers them." in report.notes
    assert any("not calibrated" in line for line in lines)


def test_a_change_within_its_interval_is_no_difference() -> None:
    top1 = Figure(0.5, 0.4, 0.6)

    same = text.comparison_line(Difference("b", top1, Figure(0.02, -0.01, 0.05)))
    other = text.comparison_line(Difference("b", top1, Figure(0.03, 0.01, 0.05)))

    assert same.endswith("change +2.0 (-1.0 to +5.0); the interval contains 0: no difference shown")
    assert other.endswith("the interval does not contain 0: they differ on such images")


def test_templates_are_listed_with_what_chance_gives(report: zeroshot.Report) -> None:
    none, some = Figure(0.0, -0.01, 0.01), Figure(-0.1, -0.2, -0.05)
    effects = [TemplateEffect(f"{n} {{}}", none, none, some if n else none) for n in range(40)]

    shown = str(replace(report, templates=tuple(effects)))

    assert "39 of 40 intervals do not contain 0; chance alone gives about 2." in shown
    assert "+0.0 (-1.0 to +1.0)" in shown
    assert "may be worse on others" in shown


def test_long_names_are_shortened() -> None:
    classifier = axes_classifier(["x" * 5000, "y" * 5000])

    shown = str(zeroshot.evaluate(classifier, one_hot([0, 1], 2), [1, 0], draws=9))

    assert max(map(len, shown.splitlines())) < 300
