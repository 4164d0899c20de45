"""Draw the reliability diagram and the risk-coverage curve as inline SVG.

The drawings use the color of the text, so they suit light and dark pages. They are readable without
colors: lines differ by their dashes, and each mark has a title.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from zeroshot.evaluation.figures import Bin
from zeroshot.evaluation.text import percent, short

SIDE = 260  # units of the plot area
LEFT, TOP, MARGIN = 60, 10, 40
DOT = 4.0


def reliability(bins: Sequence[Bin]) -> str:
    """Return the accuracy over the confidence of each bin, with its interval."""
    marks = [_line((0, 0), (1, 1), dashes=True)]
    for each in bins:
        low, high = each.accuracy.low or 0.0, each.accuracy.high or 0.0
        x, y = each.confidence, each.accuracy.value
        marks.append(_line((x, low), (x, high)))
        words = f"{each.n} images: confidence {short(x)}, accuracy {percent(each.accuracy)}"
        marks.append(
            f"<circle cx='{_x(x):.1f}' cy='{_y(y):.1f}' r='{DOT}' fill='currentColor'>"
            f"<title>{words}</title></circle>"
        )
    label = "Reliability diagram: accuracy over confidence; the dashed line is perfect calibration"
    return _figure(label, "confidence", "accuracy", marks)


def risk_coverage(coverage: Sequence[float], risk: Sequence[float]) -> str:
    """Return the share of wrong answers over the share of images answered, surest first."""
    path = " ".join(f"{_x(c):.1f},{_y(r):.1f}" for c, r in zip(coverage, risk, strict=True))
    marks = [f"<polyline points='{path}' fill='none' stroke='currentColor' stroke-width='2'/>"]
    if coverage:
        marks.append(_line((0, risk[-1]), (1, risk[-1]), dashes=True))
    label = (
        "Risk-coverage curve: share of wrong answers over the share of images answered; the dashed "
        "line is the error of all answers"
    )
    return _figure(label, "share of images answered", "share of wrong answers", marks)


def _x(value: float) -> float:
    return LEFT + SIDE * value


def _y(value: float) -> float:
    return TOP + SIDE * (1 - value)


def _line(start: tuple[float, float], end: tuple[float, float], *, dashes: bool = False) -> str:
    (x1, y1), (x2, y2) = start, end
    style = " stroke-dasharray='5 4'" if dashes else ""
    return (
        f"<line x1='{_x(x1):.1f}' y1='{_y(y1):.1f}' x2='{_x(x2):.1f}' y2='{_y(y2):.1f}' "
        f"stroke='currentColor'{style}/>"
    )


def _figure(label: str, across: str, up: str, marks: Iterable[str]) -> str:
    width, height = LEFT + SIDE + MARGIN // 2, TOP + SIDE + MARGIN
    ticks = "".join(
        f"<text x='{_x(t):.1f}' y='{TOP + SIDE + 16}' text-anchor='middle'>{t:g}</text>"
        f"<text x='{LEFT - 6}' y='{_y(t) + 4:.1f}' text-anchor='end'>{t:g}</text>"
        for t in (0, 0.25, 0.5, 0.75, 1)
    )
    frame = (
        f"<rect x='{LEFT}' y='{TOP}' width='{SIDE}' height='{SIDE}' fill='none' "
        "stroke='currentColor' stroke-opacity='0.4'/>"
    )
    middle = TOP + SIDE / 2
    names = (
        f"<text x='{LEFT + SIDE / 2}' y='{height - 6}' text-anchor='middle'>{across}</text>"
        f"<text x='12' y='{middle}' text-anchor='middle' transform='rotate(-90 12 {middle})'>"
        f"{up}</text>"
    )
    return (
        f"<svg role='img' aria-label='{label}' width='{width}' height='{height}' "
        f"viewBox='0 0 {width} {height}' font-size='12' fill='currentColor'>"
        f"<title>{label}</title>{frame}{ticks}{names}{''.join(marks)}</svg>"
    )
