"""Read data sets whose splits are text files that list images."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from examples.paper.datasets.base import DataSet
from examples.paper.datasets.files import check_split, find, lines, root, rows
from examples.paper.datasets.names import Names, labels
from zeroshot.errors import InputError, shortened

log = logging.getLogger("zeroshot")


def food101(folder: Path, split: str) -> DataSet:
    """Read Food-101: lines such as `apple_pie/1011328` in meta/test.txt."""
    check_split(split)
    base = root(folder, "food-101")
    listed = lines(find(base, f"meta/{split}.txt"))
    images = find(base, "images")
    names = Names("food101", base / f"meta/{split}.txt")
    paths = [_inside(images, f"{line}.jpg") for line in listed]
    return DataSet(paths, [names.column(path.parent.name) for path in paths], names.labels)


def birdsnap(folder: Path, split: str) -> DataSet:
    """Read Birdsnap: a header and lines such as `Acadian_Flycatcher/1.jpg` in test_images.txt.

    The images are downloaded one by one from Flickr by get_birdsnap.py, and some no longer exist.
    Those that are not in the folder are left out, with a logged warning.

    Source: readme.txt of Birdsnap 1.1.
    """
    check_split(split)
    base = root(folder, "birdsnap")
    listed = [row["path"] for row in rows(find(base, "test_images.txt"), ["path"], "\t")]
    if split == "train":
        tests = set(listed)
        every = rows(find(base, "images.txt"), ["path", "species_id"], "\t")
        listed = [row["path"] for row in every if row["path"] not in tests]
    images = find(base, "download/images", "images")
    names = Names("birdsnap", base / "test_images.txt")
    paths = [path for line in listed if (path := _inside(images, line)).exists()]
    if not paths:
        raise InputError(
            f"{images}: none of the {len(listed)} listed images exists; run get_birdsnap.py"
        )
    if len(paths) < len(listed):
        log.warning("Birdsnap: %d of %d listed images exist in %s", len(paths), len(listed), images)
    return DataSet(paths, [names.column(path.parent.name) for path in paths], names.labels)


def sun397(folder: Path, split: str) -> DataSet:
    """Read SUN397, partition 1: lines such as `/a/abbey/sun_aaa.jpg` in Testing_01.txt.

    Names and order of ClassName.txt differ from the prompt set: "/j/jail_cell" and
    "/j/jail/indoor" are in the other order there, so classes are found by name.
    """
    check_split(split)
    base = root(folder, "SUN397")
    part = "Testing_01.txt" if split == "test" else "Training_01.txt"
    file = find(base, part, f"Partitions/{part}", f"../{part}", f"../Partitions/{part}")
    names = Names("sun397", file)
    known = {line: names.column(_scene(line)) for line in lines(_class_names(base))}
    paths, truth = [], []
    for line in lines(file):
        scene = str(PurePosixPath(line).parent)
        if scene not in known:
            raise InputError(
                f"{file}: {shortened(repr(scene))} is not in ClassName.txt; download both again"
            )
        paths.append(_inside(base, line.lstrip("/")))
        truth.append(known[scene])
    return DataSet(paths, truth, names.labels)


def _class_names(base: Path) -> Path:
    name = "ClassName.txt"
    return find(base, name, f"Partitions/{name}", f"../{name}", f"../Partitions/{name}")


def _scene(line: str) -> str:
    """Return the name of a scene: "/a/apse/indoor" without the letter of its folder."""
    return "/".join(PurePosixPath(line).parts[2:])


def fgvcaircraft(folder: Path, split: str) -> DataSet:
    """Read FGVC Aircraft, variants: lines such as `1514522 707-320` in images_variant_test.txt.

    "train" are the 6,667 images of trainval.
    """
    check_split(split)
    base = root(folder, "fgvc-aircraft-2013b", "data")
    part = "test" if split == "test" else "trainval"
    file = find(base, f"images_variant_{part}.txt")
    variants = lines(find(base, "variants.txt"))
    known = labels("fgvcaircraft")
    if sorted(variants) != sorted(known):
        raise InputError(
            f"{base / 'variants.txt'}: expected the {len(known)} variants, got "
            f"{len(variants)} lines that differ; download it again"
        )
    columns = {variant: n for n, variant in enumerate(known)}
    paths, truth = [], []
    for line in lines(file):
        image, _, variant = line.partition(" ")
        if variant not in columns:
            raise InputError(
                f"{file}: {shortened(repr(variant))} is not in variants.txt; download it again"
            )
        paths.append(_inside(base / "images", f"{image}.jpg"))
        truth.append(columns[variant])
    return DataSet(paths, truth, known)


def dtd(folder: Path, split: str) -> DataSet:
    """Read DTD, split 1: lines such as `banded/banded_0002.jpg` in labels/test1.txt.

    "train" are the 3,760 images of train1.txt and val1.txt.
    """
    check_split(split)
    base = root(folder, "dtd")
    parts = ("test1",) if split == "test" else ("train1", "val1")
    files = [find(base, f"labels/{part}.txt") for part in parts]
    names = Names("dtd", files[0])
    paths = [_inside(base / "images", line) for file in files for line in lines(file)]
    return DataSet(paths, [names.column(path.parent.name) for path in paths], names.labels)


def oxfordpets(folder: Path, split: str) -> DataSet:
    """Read Oxford-IIIT Pets: lines such as `Abyssinian_201 1 1 1` in annotations/test.txt.

    Class numbers are in alphabetical order; the prompt set lists cats first. The breed is the name
    of the image without its number. "train" is trainval.txt.
    """
    check_split(split)
    part = "test" if split == "test" else "trainval"
    file = find(folder, f"annotations/{part}.txt")
    names = Names("oxfordpets", file)
    paths, truth = [], []
    for line in lines(file):
        if line.startswith("#"):
            continue
        image = line.split()[0]
        paths.append(_inside(folder / "images", f"{image}.jpg"))
        truth.append(names.column(image.rpartition("_")[0]))
    return DataSet(paths, truth, names.labels)


def _inside(base: Path, relative: str) -> Path:
    """Return the path of a listed image. Raises InputError if it leaves the folder."""
    parts: Sequence[str] = PurePosixPath(relative).parts
    if ".." in parts or PurePosixPath(relative).is_absolute():
        raise InputError(
            f"expected a path inside {base}, got {shortened(repr(relative))}; download the list "
            "again"
        )
    return base.joinpath(*parts)
