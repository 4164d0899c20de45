"""Draw a similarity matrix of photographs and sentences."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import zeroshot

PHOTOS = Path(__file__).parent / "photos"
CELL, LEFT = 56, 190  # pixels

names = ["cat.jpg", "coffee.jpg", "rocket.jpg", "flower.jpg", "bridge.jpg", "bee.jpg"]
texts = ["a cat", "a cup of coffee", "a rocket", "a flower", "a bridge", "a bee"]

model = zeroshot.load("mini")
images = model.encode_image([PHOTOS / name for name in names])
cosines = model.similarity(model.encode_text(texts), images).numpy()  # [texts, images]
print(np.array2string(cosines, precision=2, suppress_small=True))

canvas = Image.new("RGB", (LEFT + CELL * len(names), CELL * (len(texts) + 1)), "white")
draw = ImageDraw.Draw(canvas)
for column, name in enumerate(names):
    thumbnail = Image.open(PHOTOS / name).convert("RGB").resize((CELL - 4, CELL - 4))
    canvas.paste(thumbnail, (LEFT + column * CELL + 2, 2))
for row, text in enumerate(texts, 1):
    draw.text((8, row * CELL + CELL // 3), text, fill="black")
    for column, cosine in enumerate(cosines[row - 1]):
        shade = int(255 - 200 * max(0.0, float(cosine)))
        x, y = LEFT + column * CELL, row * CELL
        draw.rectangle((x + 2, y + 2, x + CELL - 2, y + CELL - 2), fill=(shade, shade, 255))
        draw.text((x + 14, y + CELL // 3), f"{cosine:.2f}", fill="black")

path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("similarity.png")
canvas.save(path)
print(f"wrote {path}")
