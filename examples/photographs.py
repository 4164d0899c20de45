"""Classify the photographs of this folder, each among a dozen labels, and count the right ones."""

import tomllib
from pathlib import Path

import zeroshot

PHOTOS = Path(__file__).parent / "photos"


def main(model: str = "mini") -> int:
    """Print a table; return how many of the photographs got their right label."""
    photographs = tomllib.loads((PHOTOS / "labels.toml").read_text("utf-8"))
    loaded = zeroshot.load(model)
    right = 0
    print(f"{'photograph':14} {'answer':14} {'probability':>11}   right answer")
    for name, truth in photographs.items():
        found = zeroshot.classify(PHOTOS / name, truth["candidates"], model=loaded)
        right += found.label == truth["label"]
        mark = "✓" if found.label == truth["label"] else f"✗ {truth['label']}"
        print(f"{name:14} {found.label:14} {found.probability:11.0%}   {mark}")
    print(f"{right} of {len(photographs)} right with {loaded}")
    return right


if __name__ == "__main__":
    main()
