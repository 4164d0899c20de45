"""Read data sets in which the folder of an image is its class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zeroshot.errors import InputError

from .base import DataSet
from .files import MissingFile, check_split, find, images_in, root
from .names import Names

TRAINING = 30  # images per class; the other 6,085 are the test images
SEED = 1234


def caltech101(folder: Path, split: str) -> DataSet:
    """Read 101_ObjectCategories: 30 images of each class for training, the others for test.

    The paper does not publish which 30; they are a random sample with a fixed seed.
    """
    check_split(split)
    base = root(folder, "101_ObjectCategories")
    find(base, "accordion", "Faces")
    names = Names("caltech101", base)
    images: list[Path] = []
    truth: list[int] = []
    for path in _folders(base):
        column = names.column(path.name)
        listed = images_in(path, ".jpg")
        order = np.random.default_rng(SEED).permutation(len(listed))
        chosen = order[:TRAINING] if split == "train" else order[TRAINING:]
        images += [listed[n] for n in sorted(chosen.tolist())]
        truth += [column] * len(chosen)
    return _checked(images, truth, names.labels, base)


def eurosat(folder: Path, split: str) -> DataSet:
    """Read the RGB images of EuroSAT: all 27,000, as no split is published."""
    check_split(split, ("test",))
    base = folder
    for name in ("EuroSAT", "EuroSAT_RGB", "2750"):
        base = root(base, name)
    find(base, "AnnualCrop", "SeaLake")
    return _by_folder("eurosat", base, ".jpg")


def resisc45(folder: Path, split: str) -> DataSet:
    """Read NWPU-RESISC45: all 31,500 images, as no split is published."""
    check_split(split, ("test",))
    base = root(folder, "NWPU-RESISC45")
    find(base, "airplane", "wetland")
    return _by_folder("resisc45", base, ".jpg")


def country211(folder: Path, split: str) -> DataSet:
    """Read Country211; its folders `train` and `valid` together are the training images."""
    check_split(split)
    base = root(folder, "country211")
    parts = ("train", "valid") if split == "train" else ("test",)
    found = [_by_folder("country211", find(base, part), ".jpg", ".jpeg") for part in parts]
    images = [image for each in found for image in each.images]
    return DataSet(images, [n for each in found for n in each.truth], found[0].labels)


def _by_folder(name: str, base: Path, *suffixes: str) -> DataSet:
    names = Names(name, base)
    images: list[Path] = []
    truth: list[int] = []
    for path in _folders(base):
        listed = images_in(path, *suffixes)
        images += listed
        truth += [names.column(path.name)] * len(listed)
    return _checked(images, truth, names.labels, base)


def _folders(base: Path) -> list[Path]:
    if not base.is_dir():
        raise MissingFile(f"no folder {base}; check the path", missing=f"the folder {base.name}")
    return sorted(p for p in base.iterdir() if p.is_dir() and not p.name.startswith("."))


def _checked(
    images: Sequence[Path], truth: Sequence[int], labels: tuple[str, ...], base: Path
) -> DataSet:
    if not images:
        raise InputError(f"{base}: its folders contain no image; extract the archive again")
    return DataSet(images, truth, labels)
