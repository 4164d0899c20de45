"""Classify the example photographs with twelve labels each and count the correct results."""

import tomllib
from pathlib import Path

import zeroshot

PHOTOS = Path(__file__).parent / "photos"


def main(model: str = "mini") -> int:
    """Print a table and return the number of correctly labeled photographs."""
    photographs = tomllib.loads((PHOTOS / "labels.toml").read_text("utf-8"))
    loaded = zeroshot.load(model)
    right = 0
    print(f"{'photograph':14} {'prediction':14} {'probability':>11}   correct label")
    for name, truth in photographs.items():
        found = zeroshot.classify(PHOTOS / name, truth["candidates"], model=loaded)
        right += found.label == truth["label"]
        mark = "✓" if found.label == truth["label"] else f"✗ {truth['label']}"
        print(f"{name:14} {found.label:14} {found.probability:11.0%}   {mark}")
    print(f"{right} of {len(photographs)} correct with {loaded}")
    return right


if __name__ == "__main__":
    main()
