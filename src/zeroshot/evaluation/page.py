"""Write a report as one HTML page without scripts and external requests."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from zeroshot.errors import shortened
from zeroshot.evaluation import charts, text
from zeroshot.evaluation.figures import LabelFigure, LabelPrecision
from zeroshot.gallery import thumbnail

if TYPE_CHECKING:
    from zeroshot.evaluation.report import Report

CELLS = 20  # labels in the confusion matrix
ROWS = 1000  # labels in the table of all labels
FAILURES = 50  # images listed
NAME = 100  # characters of a label
CLASS = "zeroshot-report"
STYLE = f"""
.{CLASS} {{ font-family: system-ui, sans-serif; line-height: 1.45; max-width: 60em; }}
.{CLASS} table {{ border-collapse: collapse; }}
.{CLASS} th, .{CLASS} td {{ padding: .15em .5em; text-align: left; vertical-align: top;
  border: 1px solid rgba(128, 128, 128, .4); overflow-wrap: anywhere; }}
.{CLASS} td.n {{ text-align: right; font-variant-numeric: tabular-nums; }}
.{CLASS} figure {{ display: inline-block; margin: .3em; max-width: 11em; vertical-align: top;
  overflow-wrap: anywhere; }}
.{CLASS} figcaption {{ font-size: .8em; }}
"""
PAGE_STYLE = (
    ":root { color-scheme: light dark; } "
    "body { background: Canvas; color: CanvasText; margin: 2em; }"
)
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def document(report: Report) -> str:
    """Return the complete page."""
    from zeroshot.evaluation.report import MARK

    name = html.escape(shortened(text.title(report), 200))
    return (
        f"<!DOCTYPE html>\n<html lang='en'>\n<head>\n{MARK}\n<meta charset='utf-8'>\n"
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
        f"<title>{name}</title>\n<style>{PAGE_STYLE}</style>\n</head>\n<body>\n"
        f"{body(report)}\n</body>\n</html>\n"
    )


def body(report: Report) -> str:
    """Return the content of the page, as a notebook shows it."""
    parts = [
        f"<h2>{html.escape(text.title(report))}</h2>",
        *_paragraphs([*text.accuracy_lines(report), *text.score_lines(report), text.INTERVALS]),
        _list(report.notes),
        _failures(report),
        _comparisons(report),
        _charts(report),
        _matrix(report),
        _confusions(report),
        _labels(report),
        _templates(report),
    ]
    return f"<style>{STYLE}</style><div class='{CLASS}'>{''.join(parts)}</div>"


def _paragraphs(lines: Iterable[str]) -> list[str]:
    return [f"<p>{html.escape(line)}</p>" for line in lines]


def _list(lines: Sequence[str]) -> str:
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if lines else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[int]) -> str:
    """Return a table of plain text; the columns in `numbers` are aligned to the right."""
    top = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    lines = []
    for row in rows:
        cells = "".join(
            f"<td{' class=n' if n in numbers else ''}>{html.escape(cell)}</td>"
            for n, cell in enumerate(row)
        )
        lines.append(f"<tr>{cells}</tr>")
    return f"<table><tr>{top}</tr>{''.join(lines)}</table>"


def _failures(report: Report) -> str:
    if not report.failures:
        return ""
    listed = [shortened(str(failure.error), 300) for failure in report.failures[:FAILURES]]
    return f"<h3>Images not read</h3><p>{text.failure_line(report)}</p>{_list(listed)}"


def _comparisons(report: Report) -> str:
    if not report.comparisons:
        return ""
    rows = [[each.name, text.comparison_line(each)] for each in report.comparisons]
    head = ("classifier", "result")
    return f"<h3>Compared on the same images</h3>{_table(head, rows, numbers=())}"


def _charts(report: Report) -> str:
    if report.answers is None:
        return ""
    curve = charts.risk_coverage(*report.risk_coverage())
    rows = [[str(b.n), f"{b.confidence:.2f}", text.percent(b.accuracy)] for b in report.bins]
    table = _table(("images", "mean confidence", "accuracy"), rows, numbers=(0, 1, 2))
    return (
        f"<h3>Calibration</h3><p>{html.escape(text.calibration_line(report))}</p>"
        f"{charts.reliability(report.bins)}"
        f"<details><summary>Reliability diagram as a table</summary>{table}</details>"
        f"<h3>Risk and coverage</h3>{curve}"
    )


def _matrix(report: Report) -> str:
    """Return the confusion matrix, of the labels with most errors if there are many."""
    if report.answers is None:
        return ""
    chosen = _chosen(report)
    answers = report.answers
    truth, best = (np.searchsorted(chosen, each) for each in (answers.truth, answers.best))
    inside = np.isin(answers.truth, chosen) & np.isin(answers.best, chosen)
    size = len(chosen)
    counts = np.bincount(truth[inside] * size + best[inside], minlength=size * size)
    table = counts.reshape(size, size)
    head = "<th>right label</th>" + "".join(f"<th>{n}</th>" for n in range(1, size + 1))
    rows = "".join(
        _matrix_row(n, report.labels[label], table[n].tolist())
        for n, label in enumerate(chosen.tolist())
    )
    all_shown = size == len(report.labels)
    which = "" if all_shown else f" {size} of {len(report.labels)} labels, those with most errors."
    return (
        "<h3>Confusion matrix</h3><p>Rows are right labels, columns are answers in the same order; "
        f"right answers are in bold.{which}</p><table><tr>{head}</tr>{rows}</table>"
    )


def _chosen(report: Report) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the columns of at most CELLS labels, in order: most errors, then most images.

    Of many labels, those without an image and an answer are left out.
    """
    assert report.answers is not None
    answers, size = report.answers, len(report.labels)
    wrong = ~answers.right
    errors = np.bincount(answers.truth[wrong], minlength=size)
    errors += np.bincount(answers.best[wrong], minlength=size)
    images = np.bincount(answers.truth, minlength=size)
    order = np.lexsort((np.arange(size), -images, -errors))[:CELLS]
    return np.sort(order if size <= CELLS else order[(errors + images)[order] > 0])


def _matrix_row(number: int, label: str, counts: Sequence[int]) -> str:
    total = max(sum(counts), 1)
    cells = []
    for column, count in enumerate(counts):
        shown = f"<b>{count}</b>" if column == number else str(count) if count else ""
        shade = f" style='background:rgba(76,120,168,{0.6 * count / total:.2f})'" if count else ""
        cells.append(f"<td class=n{shade}>{shown}</td>")
    return f"<tr><th>{number + 1} {html.escape(shortened(label, NAME))}</th>{''.join(cells)}</tr>"


def _confusions(report: Report) -> str:
    if not report.confusions:
        return ""
    parts = ["<h3>Most frequent confusions</h3>"]
    for each in report.confusions:
        truth, answer = (html.escape(shortened(s, NAME)) for s in (each.truth, each.answer))
        images = "".join(_image(report, row) for row in each.rows)
        parts.append(
            f"<h4>{each.count} of <b>{truth}</b> answered <b>{answer}</b></h4><div>{images}</div>"
        )
    return "".join(parts)


def _image(report: Report, row: int) -> str:
    name = report.sources[row] or f"image {row}"
    sure = report.answers.confidence[row] if report.answers is not None else 0.0
    caption = f"{html.escape(shortened(name, 200))}, confidence {sure:.2f}"
    picture = thumbnail(report.image(row))
    return f"<figure>{picture}<figcaption>{caption}</figcaption></figure>"


def _labels(report: Report) -> str:
    """Return all labels, those with the lowest accuracy first."""
    known = sorted(report.per_label[:], key=text.label_value)[:ROWS]
    rows = [_label_row(each) for each in known]
    head = ("label", "images", "accuracy", "answers")
    if isinstance(known[0], LabelPrecision):
        head = ("label", "images", "average precision", "")
    more = len(report.per_label) - len(known)
    rest = f"<p>{more} more labels are in the .json report.</p>" if more else ""
    table = _table(head, rows, numbers=(1, 2, 3))
    return (
        f"<h3>Labels</h3><details open><summary>{len(report.labels)} labels, lowest first"
        f"</summary>{table}{rest}</details>"
    )


def _label_row(each: LabelFigure | LabelPrecision) -> list[str]:
    label = shortened(each.label, NAME)
    if isinstance(each, LabelPrecision):
        value = "" if each.precision is None else text.short(each.precision)
        return [label, str(each.n), value, ""]
    accuracy = "" if each.accuracy is None else text.percent(each.accuracy)
    return [label, str(each.n), accuracy, str(each.answers)]


def _templates(report: Report) -> str:
    if not report.templates:
        return ""
    rows = [
        [each.template, text.points(each.without) if each.without else "", text.points(each.alone)]
        for each in report.templates
    ]
    head = ("template", "change of top-1 if left out", "change if used alone")
    summary = html.escape(text.template_summary(report.templates))
    return f"<h3>Templates</h3><p>{summary}</p>{_table(head, rows, numbers=(1, 2))}"
