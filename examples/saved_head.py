"""Save a head, load it and reuse part of it, so labels are embedded only once."""

import tempfile
from pathlib import Path

import zeroshot

PHOTOS = Path(__file__).parent / "photos"

model = zeroshot.load("mini")
head = model.head(["cat", "dog", "boat", "bridge", "flower", "mountain"])

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "things.safetensors"
    head.save(path)
    loaded = zeroshot.Head.load(path)

landscape = loaded.select(["boat", "bridge", "mountain"]) + model.head(["forest", "desert"])
classify = zeroshot.Classifier(model, landscape)
print(classify(PHOTOS / "mountain.png", top=3))
