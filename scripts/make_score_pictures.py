"""Draw the pictures of docs/scores.md: docs/images/scores-*.svg.

    python scripts/make_score_pictures.py

The first one classifies an example photograph with `mini`. The others use images and labels drawn
with the geometry of CLIP (tests/simulation.py) and fixed seeds, so anyone can draw them again.
Needs only zeroshot and its dependencies. Each picture has an opaque background and follows the
color scheme of the reader.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import zeroshot
from zeroshot import calibration, metrics
from zeroshot.evaluation import charts, figures
from zeroshot.evaluation.answers import answer, as_embeddings
from zeroshot.fitting import calibrate
from zeroshot.head import Head

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tests.simulation import simulate  # noqa: E402

FOLDER = ROOT / "docs" / "images"
PHOTO = ROOT / "examples" / "photos" / "cat.jpg"
FIVE = ("cat", "dog", "fox", "tiger", "leopard")
MORE = (
    *("kitten", "lynx", "cheetah", "cougar", "rabbit", "lion", "wolf", "raccoon", "squirrel"),
    *("hamster", "mouse", "owl", "bear", "horse", "cow"),
)
SHOWN = 3  # labels drawn of each set
HIGHEST = 0.7  # share of images of the highest bar of a histogram
LEVELS = (0.8, 0.9, 0.95)
STYLE = """<style>
svg { color: #1f2933; font-family: system-ui, sans-serif; }
.paper { fill: #ffffff; } .track { fill: #e4e8ee; }
.main { fill: #2563eb; } .other { fill: #b45309; }
.dots { stroke: #2563eb; } .mean { stroke: #1f2933; }
@media (prefers-color-scheme: dark) {
  svg { color: #d6dae0; }
  .paper { fill: #16181c; } .track { fill: #30353d; } .main { fill: #7aa7ff; }
  .other { fill: #f0a35e; } .dots { stroke: #7aa7ff; } .mean { stroke: #d6dae0; }
}
</style>"""
Floats = NDArray[np.float64]


def main() -> None:
    """Write the pictures."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, draw in PICTURES.items():
        path = FOLDER / name
        path.write_text(draw(), "utf-8")
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1e3:.1f} kB")


def draw_labels() -> str:
    """Draw the scores of one photograph with 2, 5 and 20 labels."""
    model = zeroshot.load("mini", device="cpu", dtype="float32")
    marks = []
    top = 14
    for labels in (FIVE[:2], FIVE, FIVE + MORE):
        found = zeroshot.classify(PHOTO, labels, model=model, top=SHOWN)
        marks.append(_text(16, top + 14, f"{len(labels)} labels offered", bold=True))
        top += 24
        for label, score in found.ranking:
            marks.append(_text(106, top + 13, label, "end"))
            marks.append(_box("track", 116, top + 2, 400, 14))
            marks.append(_box("main", 116, top + 2, max(400 * score, 1), 14))
            marks.append(_text(526, top + 13, f"{score:.1%}"))
            top += 22
        if rest := len(labels) - SHOWN if len(labels) > SHOWN else 0:
            marks.append(_text(116, top + 12, f"and {rest} more labels", dim=True))
            top += 18
        top += 12
    title = "Scores of one photograph of a cat when 2, 5 or 20 labels are offered"
    return _picture(title, 590, top, marks)


def draw_calibration() -> str:
    """Draw the reliability diagram of 1000 labels before and after `calibrate` with 100 images."""
    drawn = simulate(1000, 3, seed=0)
    order = np.random.default_rng(0).permutation(len(drawn.truth))
    fitted, rest = order[:100], order[100:]
    plain = drawn.head()
    after = _calibrate(plain, drawn.images[fitted], drawn.truth[fitted])
    marks = []
    for place, (name, head) in enumerate({"Before": plain, "After": after}.items()):
        given = as_embeddings(drawn.images[rest], drawn.images.shape[1])
        assert given is not None
        answers = answer(head, given, drawn.truth[rest])
        error = metrics.calibration_error(answers.confidence, answers.is_best_right)
        x = 10 + 350 * place
        diagram = charts.reliability(figures.reliability(answers))
        marks.append(
            _text(x + 60, 26, f"{name} calibrate: calibration error {error:.2f}", bold=True)
        )
        marks.append(diagram.replace("<svg ", f"<svg x='{x}' y='36' ", 1))
    title = "Share of right answers over the score, before and after calibrate"
    return _picture(title, 720, 352, marks)


def draw_none() -> str:
    """Draw where images of the labels and other images lie, and the threshold of keep=0.9."""
    drawn = simulate(20, 60, words=300, unknown=60, seed=1)
    known = drawn.truth >= 0
    random = np.random.default_rng(0)
    fitted = np.concatenate(
        [random.permutation(np.flatnonzero(kind))[:200] for kind in (known, ~known)]
    )
    plain = drawn.head(with_words=True)
    head = _calibrate(plain, drawn.images[fitted], drawn.truth[fitted])
    assert head.calibration is not None
    surety = head.calibration.surety[head.calibration.known]
    threshold = calibration.keep_threshold(surety, 0.9)
    scores = head.probabilities(head.logits(drawn.images).double())[:, : len(head)]
    best = scores.amax(dim=1).numpy()
    rest = np.ones(len(best), bool)
    rest[fitted] = False
    left, width = 40, 560
    x = left + width * _log_place(threshold)
    marks = [_text(x - 6, 58, "no answer", "end", dim=True), _text(x + 6, 58, "answer", dim=True)]
    for style, name, chosen, top in (
        ("main", "Images of the labels", known, 40),
        ("other", "Images of something else", ~known, 210),
    ):
        values = best[rest & chosen]
        away = float((values < threshold).mean())
        words = f"{name}: {away:.0%} get no answer, {1 - away:.0%} get one"
        marks.append(_text(left, top - 10, words, bold=True))
        marks += _histogram(style, values, left, top, width, 130)
        marks.append(
            f"<line class='mean' x1='{x:.1f}' y1='{top}' x2='{x:.1f}' y2='{top + 136}' "
            "stroke-width='2' stroke-dasharray='5 4'/>"
        )
    for power, name in enumerate(("0.01%", "0.1%", "1%", "10%", "100%")):
        marks.append(_text(left + width * power / 4, 360, name, "middle"))
    marks.append(_text(left + width / 2, 380, "probability of the best label", "middle"))
    title = "Probability of the best label, for images of the labels and for other images"
    return _picture(title, 640, 392, marks)


def draw_coverage() -> str:
    """Draw the coverage of sets on new images for 100 calibrations with 50 images each."""
    drawn = simulate(20, 100, seed=2)
    logits = drawn.head().logits(drawn.images).double().numpy()
    random = np.random.default_rng(0)
    draws = [_coverages(logits, drawn.truth, random.permutation(len(logits))) for _ in range(100)]
    marks = []
    for share in (0.6, 0.7, 0.8, 0.9, 1.0):
        marks.append(_text(50, _height(share) + 4, f"{share:.0%}", "end"))
        marks.append(_rule(60, 580, _height(share), "stroke-opacity='0.2'"))
    for column, level in enumerate(LEVELS):
        left = 75 + 170 * column
        found = np.array([each[column] for each in draws])
        path = "".join(f"M{left + 1.5 * n:.1f} {_height(y):.1f}h0" for n, y in enumerate(found))
        marks.append(
            f"<path class='dots' d='{path}' stroke-width='5' stroke-linecap='round' "
            "stroke-opacity='0.55'/>"
        )
        style = "class='mean' stroke-width='2' stroke-dasharray='5 4'"
        marks.append(_rule(left - 8, left + 158, _height(level), style))
        marks.append(_text(left + 75, 326, f"asked for {level:.0%}", "middle", bold=True))
        marks.append(_text(left + 75, 344, f"mean {found.mean():.1%}", "middle"))
    marks.append(_text(16, 22, "share of new images whose set contains the right label"))
    title = "Coverage of prediction sets on new images, for 100 calibrations with 50 images each"
    return _picture(title, 600, 358, marks)


def _coverages(logits: Floats, truth: NDArray[np.int64], order: NDArray[np.int64]) -> list[float]:
    """Calibrate on the first 50 images, and return the coverage on the others for each level."""
    fitted, rest = order[:50], order[50:]
    factor = calibration.fit_inverse_temperature(logits[fitted], truth[fitted])
    scores = calibration.score_labels(metrics.softmax(factor * logits), "lac")
    own = scores[np.arange(len(truth)), truth]
    return [
        float((own[rest] <= calibration.set_threshold(own[fitted], level)).mean())
        for level in LEVELS
    ]


def _calibrate(head: Head, images: object, truth: NDArray[np.int64]) -> Head:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # labels without calibration image
        return calibrate(head, images, truth)  # type: ignore[arg-type]


def _histogram(
    style: str, values: Floats, left: float, top: float, width: float, height: float
) -> Iterable[str]:
    """Draw the share of images in each of 20 steps of a logarithmic scale from 0.0001 to 1."""
    bins = 20
    steps = np.clip(_log_place(values) * bins, 0, bins - 1).astype(int)
    shares = np.bincount(steps, minlength=bins) / len(steps)
    step = width / bins
    for n, share in enumerate(shares.tolist()):
        tall = height * share / HIGHEST
        if share:
            yield _box(style, left + n * step + 1, top + height - tall, step - 2, tall)
    yield _rule(left, left + width, top + height, "stroke-opacity='0.4'")


def _log_place(value: Any) -> Any:
    """Return the place of a probability on a logarithmic scale: 0.0001 is 0, and 1 is 1."""
    return (np.log10(value) + 4) / 4


def _height(share: float) -> float:
    """Return the place of a coverage from 0.6 to 1 on the vertical axis."""
    return 306 - 270 * (share - 0.6) / 0.4


def _rule(left: float, right: float, y: float, style: str) -> str:
    color = "" if "class=" in style else "stroke='currentColor' "
    return f"<line x1='{left:.1f}' y1='{y:.1f}' x2='{right:.1f}' y2='{y:.1f}' {color}{style}/>"


def _box(style: str, x: float, y: float, width: float, height: float) -> str:
    size = f"width='{width:.1f}' height='{height:.1f}'"
    return f"<rect class='{style}' x='{x:.1f}' y='{y:.1f}' {size}/>"


def _text(
    x: float, y: float, text: str, anchor: str = "start", *, bold: bool = False, dim: bool = False
) -> str:
    style = " font-weight='bold'" if bold else " fill-opacity='0.75'" if dim else ""
    return f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}'{style}>{escape(text)}</text>"


def _picture(title: str, width: int, height: int, marks: Sequence[str]) -> str:
    """Return an SVG file."""
    lines = "\n".join(mark.replace("><", ">\n<") for mark in marks)
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' role='img' width='{width}' height='{height}' "
        f"viewBox='0 0 {width} {height}' font-size='13' fill='currentColor'>\n"
        f"<title>{escape(title)}</title>\n{STYLE}\n"
        f"<rect class='paper' width='{width}' height='{height}' rx='6'/>\n{lines}\n</svg>\n"
    )


PICTURES: dict[str, Callable[[], str]] = {
    "scores-labels.svg": draw_labels,
    "scores-calibration.svg": draw_calibration,
    "scores-none.svg": draw_none,
    "scores-coverage.svg": draw_coverage,
}

if __name__ == "__main__":
    main()
