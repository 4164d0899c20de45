"""Draws speeds as bars against the physical limit, with Pillow and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from table import Row, replace_bytes

WIDTH = 840  # of the picture, in points; drawn at SCALE pixels each, as dense screens show it
SCALE = 2
MARGIN, NAME_WIDTH, NUMBER_WIDTH = 24, 232, 112
LINE, BAR, GAP = 26, 18, 26
INK, GREY, PAPER = "#1f2933", "#6b7785", "#ffffff"
OURS, THEIRS, LIMIT = "#2563eb", "#b6bfca", "#e9edf2"
TITLES = {  # the panels, in order: the row's number, and how its work is called
    "T1": "ViT-B/32, images a second",
    "T6": "RN50, images a second",
    "T7": "ImageNet head of 80 x 1000, prompts a second",
    "T12": "JPEG files to the best 5 of 1000 labels, files a second",
}


@dataclass(frozen=True)
class Panel:
    """Contenders of one kind of work, and what the machine could do at most."""

    title: str
    bars: dict[str, float]
    ceiling: float
    limit: str


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw the panels that the rows hold."""
    panels = [panel for number, title in TITLES.items() if (panel := _panel(rows, number, title))]
    height = MARGIN + sum(LINE * (len(panel.bars) + 1) + GAP for panel in panels) + LINE
    picture = Image.new("RGB", (WIDTH * SCALE, height * SCALE), PAPER)
    canvas = ImageDraw.Draw(picture)
    top = MARGIN
    for panel in panels:
        top = _draw_panel(canvas, panel, top) + GAP
    _text(canvas, MARGIN, top, "Pale bars end at the physical limit of this machine.", GREY, 13)
    with replace_bytes(path) as file:
        picture.save(file, "PNG", optimize=True)


def _panel(rows: Sequence[Row], number: str, title: str) -> Panel | None:
    """Join the bars of a number's rows; the limit is that of its fastest row of ours."""
    found = [row for row in rows if row.number == number and row.bars and row.share]
    if not found:
        return None
    fastest = max(found, key=lambda row: next(iter(row.bars.values())))
    bars = {name: speed for row in found for name, speed in row.bars.items()}
    assert fastest.share is not None
    ceiling = next(iter(fastest.bars.values())) / fastest.share
    return Panel(title, dict(sorted(bars.items(), key=lambda bar: bar[1])), ceiling, fastest.limit)


def _draw_panel(canvas: ImageDraw.ImageDraw, panel: Panel, top: int) -> int:
    """Draw one panel and return where it ends."""
    left, right = MARGIN + NAME_WIDTH, WIDTH - MARGIN - NUMBER_WIDTH
    _text(canvas, MARGIN, top, panel.title, INK, 15)
    limit = f"{panel.ceiling:,.0f}: {panel.limit}"
    _text(canvas, right, top + 2, limit, GREY, 12, anchor="ra")
    top += LINE
    for name, speed in panel.bars.items():
        ours = name.startswith("zeroshot")
        share = min(speed / panel.ceiling, 1.0)
        _bar(canvas, left, right, top, LIMIT)
        _bar(canvas, left, left + max(2.0, share * (right - left)), top, OURS if ours else THEIRS)
        _text(canvas, MARGIN, top + 1, name, INK if ours else GREY, 13)
        number = f"{speed:,.0f}" if speed >= 10 else f"{speed:.2g}"
        percent = f"{share:.0%}" if share >= 0.01 else "under 1%"
        _text(canvas, right + 8, top + 1, f"{number}  {percent}", INK, 13)
        top += LINE
    return top


def _bar(canvas: ImageDraw.ImageDraw, left: float, right: float, top: float, colour: str) -> None:
    canvas.rectangle([x * SCALE for x in (left, top, right, top + BAR)], fill=colour)


def _text(
    canvas: ImageDraw.ImageDraw,
    x: float,
    y: float,
    text: str,
    colour: str,
    size: int,
    anchor: str = "la",
) -> None:
    font = ImageFont.load_default(size * SCALE)
    canvas.text((x * SCALE, y * SCALE), text, fill=colour, font=font, anchor=anchor)
