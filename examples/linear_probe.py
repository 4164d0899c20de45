"""Train a linear probe on image embeddings: which photograph is this crop from?

A linear model trained on a few examples can separate classes that are hard to describe with labels.
Requires scikit-learn: pip install scikit-learn
"""

from pathlib import Path

import numpy as np
from PIL import Image

import zeroshot

try:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score
except ImportError as error:
    raise SystemExit("This example requires scikit-learn; run: pip install scikit-learn") from error

PHOTOS = Path(__file__).parent / "photos"


def views(path: Path) -> list[Image.Image]:
    """Return four crops of a photograph, as a small data set."""
    picture = Image.open(path).convert("RGB")
    width, height = picture.size
    corners = [(0, 0), (width // 4, 0), (0, height // 4), (width // 4, height // 4)]
    return [picture.crop((x, y, x + width * 3 // 4, y + height * 3 // 4)) for x, y in corners]


model = zeroshot.load("mini")
subjects = ["cat.jpg", "boats.jpg", "flower.jpg", "coffee.jpg", "bridge.jpg"]
pictures = [view for name in subjects for view in views(PHOTOS / name)]
truth = np.repeat(subjects, 4)

embeddings = model.encode_image(pictures).numpy()
accuracy = cross_val_score(LogisticRegression(C=100), embeddings, truth, cv=4).mean()
print(f"{accuracy:.0%} of held-out crops classified correctly, {len(subjects)} classes")
