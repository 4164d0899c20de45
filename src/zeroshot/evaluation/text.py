"""Format a report as text, and its figures as short phrases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zeroshot.errors import shortened
from zeroshot.evaluation.figures import Figure, LabelFigure, LabelPrecision

if TYPE_CHECKING:
    from zeroshot.evaluation.comparison import Difference, TemplateEffect
    from zeroshot.evaluation.report import Report

NAMES = {
    "map": "mAP",
    "top1": "Top-1",
    "top5": "Top-5",
    "mean_per_label": "Mean per label",
    "answered": "Answered",
    "right_among_answers": "Right among the answers",
    "known_answered": "Answered among images that show a label",
    "unknown_turned_away": "Turned away among images that show none",
}
SCORES = {"brier": "Brier score", "nll": "NLL", "aurc": "AURC", "auroc": "AUROC of known images"}
WORST = 5  # labels listed
DIGITS = 6  # most decimals of percentage points
FAILED = 5  # images listed
INTERVALS = (
    "In parentheses: 95 % intervals for images drawn like these; they say nothing about others."
)
NAME = 60  # characters of a label or path in a line


def percent(figure: Figure) -> str:
    """Format a share with its interval, such as "65.9 % (58.6-72.5)"."""
    return f"{100 * figure.value:.1f} %{_bounds(figure, lambda x: f'{100 * x:.1f}')}"


def decimal(figure: Figure) -> str:
    """Format a number with its interval, such as "1.38 (1.15-1.62)"."""
    return f"{short(figure.value)}{_bounds(figure, short)}"


def points(change: Figure) -> str:
    """Format a difference of two shares in percentage points, such as "+1.2 (-0.5 to +2.9)"."""
    assert change.low is not None
    assert change.high is not None
    value, low, high = 100 * change.value, 100 * change.low, 100 * change.high
    digits = 1
    while digits < DIGITS and round(low, digits) == round(high, digits):  # the interval of 0 of n
        digits += 1
    return f"{value:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"


def short(value: float) -> str:
    """Format a number with two decimals and no zero before the point, such as ".06"."""
    text = f"{value:.2f}"
    return text[1:] if text.startswith("0.") else text


def _bounds(figure: Figure, form: object) -> str:
    if figure.low is None or figure.high is None:
        return ""
    assert callable(form)
    low, high = form(figure.low), form(figure.high)
    return f" ({low}-{high})" if low != high else ""  # narrower than the digits shown


def title(report: Report) -> str:
    """Return the first line of a report."""
    model = report.model or "an unnamed model"
    templates = f"{report.template_count} template{'s' if report.template_count != 1 else ''}"
    none = f" or {report.labels[-1]}" if report.can_abstain else ""
    labels = f"{len(report.labels) - report.can_abstain} labels{none}"
    return f"{report.n} images, {labels}, {model}, prompts {report.prompts!r} ({templates})"


def accuracy_lines(report: Report) -> list[str]:
    """Return the sentences with the shares of right answers."""
    lines = []
    for key, name in NAMES.items():
        if key in report.figures:
            sentence = f"{name} {percent(report.figures[key])}."
            if key == "top1" and report.published is not None:
                sentence += f" {_published(report)}"
            lines.append(sentence)
    return lines


def _published(report: Report) -> str:
    known = report.published
    assert known is not None
    return f"Published for this model on ImageNet: {known.top1:.1f}; {known.differs}."


def score_lines(report: Report) -> list[str]:
    """Return the sentences about the probabilities."""
    lines = []
    if report.floor is not None:
        lines.append(calibration_line(report))
    found = [
        f"{name} {decimal(report.figures[k])}." for k, name in SCORES.items() if k in report.figures
    ]
    return [*lines, " ".join(found)] if found else lines


def calibration_line(report: Report) -> str:
    """Return the calibration error beside what chance gives, and what follows from it."""
    assert report.floor is not None
    error, (mean, high) = report.figures["ece"].value, report.floor
    line = f"ECE {short(error)}; chance alone gives {short(mean)} with {report.n} images."
    chance = f"chance alone stays below {short(high)} in 95 % of cases"
    if error <= high:
        return f"{line} No evidence of wrong scores: {chance}."
    return f"{line} The scores do not match the accuracy: {chance}; see calibrate."


def worst_labels(report: Report, limit: int = WORST) -> list[tuple[str, str]]:
    """Return the labels with the lowest accuracy or precision, among those with an error."""
    known = [(label_value(each), each) for each in report.per_label if label_value(each) < 1]
    known.sort(key=lambda pair: pair[0])
    return [(each.label, _label(each)) for _, each in known[:limit]]


def label_value(each: LabelFigure | LabelPrecision) -> float:
    """Return the accuracy or precision of a label, 1 if it has no images."""
    if isinstance(each, LabelPrecision):
        return 1.0 if each.precision is None else each.precision
    return 1.0 if each.accuracy is None else each.accuracy.value


def _label(each: LabelFigure | LabelPrecision) -> str:
    images = f"{each.n} image{'s' if each.n != 1 else ''}"
    if isinstance(each, LabelPrecision):
        return f"average precision {short(each.precision or 0.0)}, {images}"
    assert each.accuracy is not None
    return f"{percent(each.accuracy)}, {images}"


def failure_line(report: Report) -> str:
    """Return the sentence about images that cannot be read."""
    failed = len(report.failures)
    return f"{failed} of {report.n + failed} images could not be read; they are not in the figures."


def comparison_line(each: Difference) -> str:
    """Return what a comparison says."""
    verdict = (
        "the interval does not contain 0: they differ on such images"
        if each.is_outside
        else "the interval contains 0: no difference shown"
    )
    return f"top-1 {percent(each.top1)}, change {points(each.change)}; {verdict}"


def template_summary(effects: tuple[TemplateEffect, ...]) -> str:
    """Return how many changes are outside of their interval, and how many chance gives."""
    from zeroshot.evaluation.comparison import excludes_zero

    left_out = [each.without for each in effects if each.without is not None]
    outside = sum(excludes_zero(change) for change in left_out)
    return (
        f"Leaving out one template: {outside} of {len(left_out)} intervals do not contain 0; "
        f"chance alone gives about {0.05 * len(left_out):.0f}. "
        "A template chosen on these images may be worse on others."
    )


def format_report(report: Report) -> str:
    """Return the report as lines of text."""
    lines = [title(report), "", *accuracy_lines(report), *score_lines(report), INTERVALS]
    if report.failures:
        lines += ["", failure_line(report)]
        lines += [f"  {shortened(str(f.error), 160)}" for f in report.failures[:FAILED]]
    if report.confusions:
        lines += ["", "Most frequent confusions (right label -> answer)"]
        lines += [_confusion_line(report, n) for n in range(min(WORST, len(report.confusions)))]
    if worst := worst_labels(report):
        lines += ["", "Labels with the lowest accuracy"]
        lines += [f"  {shortened(label, NAME)}: {value}" for label, value in worst]
    if report.comparisons:
        lines += ["", "Compared on the same images"]
        lines += [f"  {each.name}: {comparison_line(each)}" for each in report.comparisons]
    if report.templates:
        lines += ["", *_template_lines(report.templates)]
    lines += ["", *(f"Note: {note}" for note in report.notes)] if report.notes else []
    return "\n".join(lines)


def _confusion_line(report: Report, number: int) -> str:
    each = report.confusions[number]
    named = [source for row in each.rows if (source := report.sources[row])]
    shown = f": {', '.join(shortened(name, NAME) for name in named[:2])}" if named else ""
    truth, answer = shortened(each.truth, NAME), shortened(each.answer, NAME)
    return f"  {truth} -> {answer}, {each.count}{shown}"


def _template_lines(effects: tuple[TemplateEffect, ...]) -> list[str]:
    rows = [
        f"  {points(each.without) if each.without else '-':>22}  {points(each.alone):>22}  "
        f"{shortened(each.template, NAME)}"
        for each in effects
    ]
    head = f"  {'left out':>22}  {'alone':>22}  template"
    title = "Change of top-1 in percentage points, with paired intervals"
    return [title, head, *rows, template_summary(effects)]
