"""Draw docs/images/result.png, the picture in the README: photographs, labels, probabilities.

    python scripts/make_readme_picture.py

Classifies three example photographs with `mini` and draws the best labels as bars. All three
photographs are CC0 or public domain (NOTICE). Needs only zeroshot and Pillow.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

import zeroshot
from zeroshot import Prediction

ROOT = Path(__file__).resolve().parents[1]
PHOTOS = ROOT / "examples" / "photos"
OUTPUT = ROOT / "docs" / "images" / "result.png"
NAMES = ("cat.jpg", "coffee.jpg", "rocket.jpg")
LABELS = ("cat", "dog", "rabbit", "coffee", "beer", "candle", "rocket", "lighthouse", "airplane")
TOP = 4  # labels drawn for each photograph

SCALE = 1.5  # pixels per point; sharp on dense screens, and below 200 kB
CARD, PHOTO, GAP, MARGIN = 250, 168, 20, 16  # points: card width, photo height, spacing
ROW, BAR, NAME = 25, 13, 76  # points: row height, bar height, width of the label column
NUMBER = 46  # points: width of the percentage column
INK, GRAY, PAPER = "#1f2933", "#6b7785", "#ffffff"
BEST, OTHER, TRACK = "#2563eb", "#b6bfca", "#eef1f5"
COLORS = 256  # palette size of the PNG


def main() -> None:
    """Classify the photographs and write the picture."""
    model = zeroshot.load("mini", dtype="float32")
    found = zeroshot.classify([PHOTOS / name for name in NAMES], LABELS, model=model, top=TOP)
    width = 2 * MARGIN + len(NAMES) * CARD + (len(NAMES) - 1) * GAP
    height = 2 * MARGIN + PHOTO + 12 + TOP * ROW
    picture = Image.new("RGB", (pixels(width), pixels(height)), PAPER)
    for column, prediction in enumerate(found):
        draw_card(picture, prediction, MARGIN + column * (CARD + GAP), MARGIN)
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    picture.quantize(COLORS, dither=Image.Dither.FLOYDSTEINBERG).save(OUTPUT, optimize=True)
    print(f"{OUTPUT.relative_to(ROOT)}: {OUTPUT.stat().st_size / 1e3:.0f} kB, {picture.size}")


def draw_card(picture: Image.Image, prediction: Prediction, left: int, top: int) -> None:
    """Draw one photograph with its ranking below it."""
    assert prediction.source is not None
    with Image.open(prediction.source) as photo:
        cut = ImageOps.fit(
            photo.convert("RGB"), (pixels(CARD), pixels(PHOTO)), centering=(0.5, 0.4)
        )
    picture.paste(cut, (pixels(left), pixels(top)))
    canvas = ImageDraw.Draw(picture)
    top += PHOTO + 12
    start, end = left + NAME, left + CARD - NUMBER
    for rank, (label, probability) in enumerate(prediction.ranking):
        middle = top + rank * ROW + ROW / 2
        best = rank == 0
        draw_text(canvas, left, middle, label, INK if best else GRAY, "lm")
        draw_bar(canvas, start, end, middle, TRACK)
        draw_bar(
            canvas, start, start + probability * (end - start), middle, BEST if best else OTHER
        )
        draw_text(canvas, left + CARD, middle, f"{probability:.1%}", INK if best else GRAY, "rm")


def draw_bar(
    canvas: ImageDraw.ImageDraw, left: float, right: float, middle: float, color: str
) -> None:
    """Draw a horizontal bar, at least 2 points wide."""
    edges = (left, middle - BAR / 2, max(right, left + 2), middle + BAR / 2)
    canvas.rectangle([pixels(edge) for edge in edges], fill=color)


def draw_text(
    canvas: ImageDraw.ImageDraw, x: float, y: float, text: str, color: str, anchor: str
) -> None:
    """Draw text at a point."""
    font = ImageFont.load_default(13 * SCALE)
    canvas.text((pixels(x), pixels(y)), text, fill=color, font=font, anchor=anchor)


def pixels(points: float) -> int:
    """Convert points to pixels."""
    return round(points * SCALE)


if __name__ == "__main__":
    main()
