"""Render labeled sentences as images, similar to those of Rendered SST2.

    python -m examples.paper.render_text dev.tsv rendered/test

reads the columns `sentence` and `label` (0 or 1) of an SST-2 file in the format of GLUE, and writes
OUT/negative/*.png and OUT/positive/*.png. The font and layout of OpenAI's images are not known
here, so figures on these images can differ from those on Rendered SST2.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, features

from examples.paper.datasets.files import rows
from examples.paper.options import run
from zeroshot.errors import InputError, MissingPackage, shortened
from zeroshot.files import write_atomically

SIZE = 448  # pixels
MARGIN = 16  # pixels
LARGEST, SMALLEST = 32, 6  # pixels of the font
SPACING = 6  # pixels between lines
LABELS = {"0": "negative", "1": "positive"}  # GLUE, SST-2


def render(sentence: str) -> Image.Image:
    """Draw a sentence in black on white, wrapped at spaces: RGB, 448 x 448.

    The font is 32 pixels high, and smaller for text that does not fit. Raises InputError for text
    that does not fit in the smallest font.
    """
    image = Image.new("RGB", (SIZE, SIZE), "white")
    draw = ImageDraw.Draw(image)
    for size in range(LARGEST, SMALLEST - 1, -2):
        font = _font(size)
        text = "\n".join(_wrap(sentence, font))
        box = draw.multiline_textbbox((MARGIN, MARGIN), text, font, spacing=SPACING)
        if max(box[2:]) <= SIZE - MARGIN:
            draw.multiline_text((MARGIN, MARGIN), text, "black", font, spacing=SPACING)
            return image
    raise InputError(
        f"expected text that fits in {SIZE} x {SIZE} pixels, got {len(sentence)} characters: "
        f"{shortened(repr(sentence))}; shorten it"
    )


def _font(size: int) -> ImageFont.FreeTypeFont:
    if not features.check("freetype2"):
        raise MissingPackage(
            "rendering text requires Pillow with FreeType, which this Pillow lacks; run: pip "
            "install --force-reinstall pillow"
        )
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # with FreeType
    return font


def _wrap(sentence: str, font: ImageFont.FreeTypeFont) -> list[str]:
    """Break a sentence into lines of at most the width of the image."""
    lines: list[str] = []
    for word in sentence.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= SIZE - 2 * MARGIN:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def render_file(table: Path, out: Path) -> int:
    """Render the sentences of a GLUE file into out/negative and out/positive; return the number.

    Files are named by the number of the row, from 1. Raises InputError for a row without label or
    text, before anything is written.
    """
    sentences = rows(table, ("sentence", "label"), "\t")
    for number, row in enumerate(sentences, 1):
        if row["label"] not in LABELS or not row["sentence"].strip():
            raise InputError(
                f"{table}, sentence {number}: expected text and a label 0 or 1, got "
                f"{shortened(repr(row['sentence']))} and {row['label']!r}; use train.tsv or dev.tsv"
            )
    for label in LABELS.values():
        (out / label).mkdir(parents=True, exist_ok=True)
    for number, row in enumerate(sentences, 1):
        image = render(row["sentence"])
        with write_atomically(out / LABELS[row["label"]] / f"{number:06}.png") as temporary:
            image.save(temporary, "PNG")
    return len(sentences)


def main(arguments: list[str]) -> None:
    """Render the file in the arguments, and print the number of images."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("sentences", type=Path, help="file of SST-2 in the format of GLUE (.tsv)")
    parser.add_argument("out", type=Path, help="folder that gets negative/ and positive/")
    given = parser.parse_args(arguments)
    count = render_file(given.sentences, given.out)
    print(f"{count} images written to {given.out}")


if __name__ == "__main__":
    run(main)
