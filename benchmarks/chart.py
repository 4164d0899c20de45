"""Draw a bar chart of speeds relative to the physical limit, with Pillow only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from table import Row, replace_bytes

WIDTH = 840  # width in points, SCALE pixels each, for dense screens
SCALE = 2
MARGIN, NAME_WIDTH, NUMBER_WIDTH = 24, 232, 112
LINE, BAR, GAP = 26, 18, 26
INK, GRAY, PAPER = "#1f2933", "#6b7785", "#ffffff"
OURS, THEIRS, LIMIT = "#2563eb", "#b6bfca", "#e9edf2"
TITLES = {  # panels in order: row number and title
    "T1": "ViT-B/32, images/s",
    "T6": "RN50, images/s",
    "T7": "ImageNet head of 80 x 1000, prompts/s",
    "T12": "JPEG files to top 5 of 1000 labels, files/s",
}


@dataclass(frozen=True)
class Panel:
    """Contenders of one task, and the physical limit of the machine."""

    title: str
    bars: dict[str, float]
    ceiling: float
    limit: str


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw all panels that have rows."""
    panels = [panel for number, title in TITLES.items() if (panel := _panel(rows, number, title))]
    height = MARGIN + sum(LINE * (len(panel.bars) + 1) + GAP for panel in panels) + LINE
    picture = Image.new("RGB", (WIDTH * SCALE, height * SCALE), PAPER)
    canvas = ImageDraw.Draw(picture)
    top = MARGIN
    for panel in panels:
        top = _draw_panel(canvas, panel, top) + GAP
    _text(canvas, MARGIN, top, "Light bars show the physical limit of this machine.", GRAY, 13)
    with replace_bytes(path) as file:
        picture.save(file, "PNG", optimize=True)


def _panel(rows: Sequence[Row], number: str, title: str) -> Panel | None:
    """Combine the bars of all rows of a number; use the limit of zeroshot's fastest row."""
    found = [row for row in rows if row.number == number and row.bars and row.share]
    if not found:
        return None
    fastest = max(found, key=lambda row: next(iter(row.bars.values())))
    bars = {name: speed for row in found for name, speed in row.bars.items()}
    assert fastest.share is not None
    ceiling = next(iter(fastest.bars.values())) / fastest.share
    return Panel(title, dict(sorted(bars.items(), key=lambda bar: bar[1])), ceiling, fastest.limit)


def _draw_panel(canvas: ImageDraw.ImageDraw, panel: Panel, top: int) -> int:
    """Draw one panel and return its bottom edge."""
    left, right = MARGIN + NAME_WIDTH, WIDTH - MARGIN - NUMBER_WIDTH
    _text(canvas, MARGIN, top, panel.title, INK, 15)
    limit = f"{panel.ceiling:,.0f}: {panel.limit}"
    _text(canvas, right, top + 2, limit, GRAY, 12, anchor="ra")
    top += LINE
    for name, speed in panel.bars.items():
        ours = name.startswith("zeroshot")
        share = min(speed / panel.ceiling, 1.0)
        _bar(canvas, left, right, top, LIMIT)
        _bar(canvas, left, left + max(2.0, share * (right - left)), top, OURS if ours else THEIRS)
        _text(canvas, MARGIN, top + 1, name, INK if ours else GRAY, 13)
        number = f"{speed:,.0f}" if speed >= 10 else f"{speed:.2g}"
        percent = f"{share:.0%}" if share >= 0.01 else "under 1%"
        _text(canvas, right + 8, top + 1, f"{number}  {percent}", INK, 13)
        top += LINE
    return top


def _bar(canvas: ImageDraw.ImageDraw, left: float, right: float, top: float, color: str) -> None:
    canvas.rectangle([x * SCALE for x in (left, top, right, top + BAR)], fill=color)


def _text(
    canvas: ImageDraw.ImageDraw,
    x: float,
    y: float,
    text: str,
    color: str,
    size: int,
    anchor: str = "la",
) -> None:
    font = ImageFont.load_default(size * SCALE)
    canvas.text((x * SCALE, y * SCALE), text, fill=color, font=font, anchor=anchor)
