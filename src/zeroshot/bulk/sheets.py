"""Write a contact sheet: thumbnails of images with captions, as one HTML or JPEG file."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from zeroshot.bulk.folder import commit
from zeroshot.errors import InputError, ZeroshotError, shortened
from zeroshot.gallery import BOX, thumbnail
from zeroshot.images import open_image

MARK = "zeroshot contact sheet"  # in files that we wrote
START = 4096  # bytes of a file that contain the mark
SUFFIXES = (".html", ".htm", ".jpg", ".jpeg")
CELL, LINES = 200, 36  # pixels: side of a thumbnail, height of two lines of text
ACROSS = 5  # thumbnails
LONGEST = 32  # characters of a line below a thumbnail

Caption = tuple[str, str]  # source of an image, and a line of text


def check_sheet(file: Path) -> None:
    """Raise InputError for an unknown suffix, and for a file that we did not write."""
    name = shortened(str(file), 300)
    if file.suffix.lower() not in SUFFIXES:
        raise InputError(f"sheet={name!r} must end with .html or .jpg")
    if file.is_dir() or (file.exists() and not _is_ours(file)):
        raise InputError(
            f"sheet={name!r} exists, and is not a contact sheet that zeroshot wrote; choose "
            "another name, or delete it"
        )


def _is_ours(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            start = stream.read(START)
    except OSError:
        return False
    return not start or MARK.encode() in start


def write_sheet(file: Path, title: str, captions: Sequence[Caption]) -> None:
    """Write thumbnails of local files with captions; others have a caption only.

    Raises SaveError.
    """
    page = file.suffix.lower().startswith(".htm")
    content = make_page(title, captions) if page else make_picture(captions)
    commit(file, lambda path: path.write_bytes(content))


def make_page(title: str, captions: Sequence[Caption]) -> bytes:
    """Return one HTML page, without scripts and without other files."""
    boxes = [
        f"<div style='{BOX};overflow-wrap:anywhere'>{thumbnail(source)}"
        f"<div>{html.escape(line)}</div><div>{html.escape(source)}</div></div>"
        for source, line in captions
    ]
    text = (
        f"<!doctype html>\n<html lang='en'><meta charset='utf-8'>"
        f"<meta name='generator' content='{MARK}'><title>{html.escape(title)}</title>"
        f"<body style='font-family:sans-serif'><h1>{html.escape(title)}</h1>\n"
        + "\n".join(boxes)
        + "\n</body></html>\n"
    )
    return text.encode("utf-8", "backslashreplace")


def make_picture(captions: Sequence[Caption]) -> bytes:
    """Return one JPEG file with the thumbnails in rows."""
    down = max(1, -(-len(captions) // ACROSS))
    across = max(1, min(ACROSS, len(captions)))
    sheet = Image.new("RGB", (across * CELL, down * (CELL + LINES)), "white")
    draw = ImageDraw.Draw(sheet)
    for place, (source, line) in enumerate(captions):
        left, upper = place % ACROSS * CELL, place // ACROSS * (CELL + LINES)
        small = _open(source)
        if small is not None:
            middle = (left + (CELL - small.width) // 2, upper + (CELL - small.height) // 2)
            sheet.paste(small, middle)
        for number, text in enumerate((line, source[-LONGEST:])):
            draw.text((left + 4, upper + CELL + 16 * number), _plain(text), fill="black")
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=85, comment=MARK)
    return buffer.getvalue()


def _open(source: str) -> Image.Image | None:
    """Return a thumbnail of a local file, or None for anything else."""
    try:
        if not Path(source).is_file():
            return None
        image: Any = open_image(source, at_least=CELL)
    except (ZeroshotError, OSError, TypeError, ValueError):  # the file changed, or is no path
        return None
    image = image.convert("RGB")
    image.thumbnail((CELL - 8, CELL - 8))
    return Image.Image.copy(image)


def _plain(text: str) -> str:
    """Return text that every font has."""
    return text[:LONGEST].encode("ascii", "replace").decode()
