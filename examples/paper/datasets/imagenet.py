"""Read ImageNet (ILSVRC2012), as published or sorted into a folder per class."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from examples.paper.datasets.base import DataSet
from examples.paper.datasets.files import check_split, find, images_in, lines, mat, number
from examples.paper.datasets.folders import by_class, folders_in
from examples.paper.datasets.names import labels
from zeroshot import prompts
from zeroshot.errors import InputError

WNID = re.compile(r"n\d{8}")
NUMBERED = re.compile(r"ILSVRC2012_val_(\d{8})\.JPEG", re.IGNORECASE)
CLASSES = 1000
DEVKIT = "ILSVRC2012_devkit_t12/data"
TRUTH = "ILSVRC2012_validation_ground_truth.txt"


def imagenet(folder: Path, split: str) -> DataSet:
    """Read the validation images (split "test", as in the paper) or the training images.

    Either form of the validation images:
    - n01440764/*.JPEG ...: a folder per WordNet id, in FOLDER or FOLDER/val
    - ILSVRC2012_val_00000001.JPEG ...: flat, as published, in FOLDER or FOLDER/val, with the devkit
      (ILSVRC2012_devkit_t12) in FOLDER. Line n of its ground truth is the class number of image n;
      meta.mat has the WordNet id of each number, in an order that is not that of the prompt set.

    Source: readme.txt of ILSVRC2012_devkit_t12.
    """
    check_split(split)
    base = find(folder, "train") if split == "train" else _validation(folder)
    if classes := wnid_folders(base):
        columns = _columns()
        return by_class([(path, columns[path.name]) for path in classes], labels("imagenet"), base)
    if split == "train":
        find(base, "n01440764")  # raises: there are no such folders
    return _flat(folder, base)


def _validation(folder: Path) -> Path:
    return find(folder, "val", "ILSVRC2012_img_val", ".")


def _columns() -> dict[str, int]:
    return {wnid: n for n, wnid in enumerate(prompts.wnids("imagenet"))}


def wnid_folders(base: Path) -> list[Path]:
    """Return the folders named by WordNet ids, in the order of ImageNet's classes.

    Raises InputError for an id that is none of them. Other folders are left out.
    """
    known = prompts.wnids("imagenet")
    found = [path for path in folders_in(base) if WNID.fullmatch(path.name)]
    for path in found:
        if path.name not in known:
            raise InputError(
                f"{path}: {path.name} is none of the {CLASSES} classes of ILSVRC2012; remove it"
            )
    return found


def _flat(folder: Path, base: Path) -> DataSet:
    images = [path for path in images_in(base) if NUMBERED.fullmatch(path.name)]
    if not images:
        find(base, "n01440764", "ILSVRC2012_val_00000001.JPEG")
    right = lines(find(folder, f"{DEVKIT}/{TRUTH}", f"data/{TRUTH}", TRUTH))
    meta = find(folder, f"{DEVKIT}/meta.mat", "data/meta.mat", "meta.mat")
    columns = _numbered(meta)
    truth = []
    for path in images:
        found = NUMBERED.fullmatch(path.name)
        assert found is not None
        position = int(found[1])
        if not 1 <= position <= len(right):
            raise InputError(
                f"{path.name}: expected a number within 1..{len(right)}, the lines of {TRUTH}; "
                "use the ground truth of ILSVRC2012"
            )
        truth.append(columns[number(right[position - 1], folder / TRUTH, CLASSES, start=1)])
    return DataSet(images, truth, labels("imagenet"))


def _numbered(meta: Path) -> list[int]:
    """Return the column of each class number of the devkit, from its synsets."""
    (synsets,) = mat(meta, "synsets")
    columns = _columns()
    found: dict[int, int] = {}
    try:
        for synset in synsets:
            where: Any = synset["ILSVRC2012_ID"]
            if int(where) <= CLASSES:  # the others are inner nodes of the tree
                found[int(where)] = columns[str(synset["WNID"])]
        return [found[n] for n in range(1, CLASSES + 1)]
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise InputError(
            f"{meta}: expected the {CLASSES} synsets of ILSVRC2012 ({type(error).__name__}: "
            f"{error}); download the devkit again"
        ) from error
