"""Classify with custom labels: several names per label, and custom prompt templates."""

from pathlib import Path

import zeroshot

PHOTOS = Path(__file__).parent / "photos"

labels = {
    "pet": ["cat", "dog", "rabbit"],  # a label may have several names
    "vehicle": ["rocket", "boat", "car"],
    "building": ["temple", "bridge", "church"],
    "plant": ["flower", "citrus fruit", "tree"],
}
prompts = ["a photo of a {}.", "a postcard of a {}.", "a {} seen from afar."]

classifier = zeroshot.load("mini").classifier(labels, prompts)
photos = sorted(p for p in PHOTOS.iterdir() if p.suffix in (".jpg", ".png", ".webp"))
for photo, found in zip(photos, classifier(photos), strict=True):
    print(f"{photo.name:14} {found.label:10} {found.probability:.0%}")
