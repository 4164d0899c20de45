"""Read data sets in which the folder of an image is its class."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from examples.paper.datasets.base import DataSet
from examples.paper.datasets.files import MissingFile, check_split, find, images_in, root
from examples.paper.datasets.names import Names, labels
from zeroshot.errors import InputError

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
    for path in folders_in(base):
        column = names.column(path.name)
        listed = images_in(path)
        order = np.random.default_rng(SEED).permutation(len(listed))
        chosen = order[:TRAINING] if split == "train" else order[TRAINING:]
        images += [listed[n] for n in sorted(chosen.tolist())]
        truth += [column] * len(chosen)
    return _checked(images, truth, names.labels, base)


def eurosat(folder: Path, split: str) -> DataSet:
    """Read the RGB images of EuroSAT: all 27,000, as no split is published."""
    check_split(split, ("test",))
    base = root(folder, "EuroSAT", "EuroSAT_RGB", "2750")
    find(base, "AnnualCrop", "SeaLake")
    return by_class(_named("eurosat", base), labels("eurosat"), base)


def resisc45(folder: Path, split: str) -> DataSet:
    """Read NWPU-RESISC45: all 31,500 images, as no split is published."""
    check_split(split, ("test",))
    base = root(folder, "NWPU-RESISC45")
    find(base, "airplane", "wetland")
    return by_class(_named("resisc45", base), labels("resisc45"), base)


def country211(folder: Path, split: str) -> DataSet:
    """Read Country211; its folders `train` and `valid` together are the training images."""
    check_split(split)
    base = root(folder, "country211")
    parts = ("train", "valid") if split == "train" else ("test",)
    classes = [each for part in parts for each in _named("country211", find(base, part))]
    return by_class(classes, labels("country211"), base)


def _named(name: str, base: Path) -> list[tuple[Path, int]]:
    names = Names(name, base)
    return [(path, names.column(path.name)) for path in folders_in(base)]


def folders_in(base: Path) -> list[Path]:
    """Return the folders in a folder, sorted by name, without hidden ones."""
    if not base.is_dir():
        raise MissingFile(f"no folder {base}; check the path", missing=f"the folder {base.name}")
    return sorted(p for p in base.iterdir() if p.is_dir() and not p.name.startswith("."))


def by_class(classes: Iterable[tuple[Path, int]], known: tuple[str, ...], base: Path) -> DataSet:
    """Return the images of folders; each comes with the column of its label in `known`.

    Raises InputError if they contain no image; `base` contains the folders.
    """
    images: list[Path] = []
    truth: list[int] = []
    for path, column in classes:
        listed = images_in(path)
        images += listed
        truth += [column] * len(listed)
    return _checked(images, truth, known, base)


def _checked(
    images: Sequence[Path], truth: Sequence[int], known: tuple[str, ...], base: Path
) -> DataSet:
    if not images:
        raise InputError(f"{base}: its folders contain no image; extract the archive again")
    return DataSet(images, truth, known)
