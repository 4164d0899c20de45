"""Classify one image with one call."""

from pathlib import Path

import zeroshot

PHOTOS = Path(__file__).parent / "photos"

found = zeroshot.classify(PHOTOS / "cat.jpg", ["cat", "dog", "rabbit", "fox"], model="mini")
print(found)
