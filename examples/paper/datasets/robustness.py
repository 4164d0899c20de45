"""Read the data sets of the paper's robustness figures: other images of the classes of ImageNet.

ImageNet-V2 and ImageNet-Sketch have all 1,000 classes, ImageNet-R and ImageNet-A 200 of them, and
113 classes of ObjectNet stand for one or more classes of ImageNet. `labels` of the results are the
ImageNet labels that take part, so select them from a head before scoring: the accuracy on a part
of the classes is among these only (Taori et al. 2020, arXiv 2007.00644).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from PIL import Image

from examples.paper.datasets.base import DataSet
from examples.paper.datasets.files import (
    MissingFile,
    Picture,
    check_split,
    find,
    images_in,
    read_json,
    read_text,
    root,
)
from examples.paper.datasets.folders import by_class, folders_in
from examples.paper.datasets.imagenet import wnid_folders
from examples.paper.datasets.names import labels
from zeroshot import prompts
from zeroshot.errors import InputError, some
from zeroshot.images import open_image

IMAGENET_CLASSES = 1000
SUBSET = 200  # classes of ImageNet-R and of ImageNet-A
# Pixels cropped from each side of an ObjectNet image. Its authors added a red border of 1 pixel
# (LICENSE of ObjectNet); 2 is what github.com/modestyachts/imagenet-testbed crops
# (src/eval_settings/objectnet.py).
BORDER = 2
OBJECTNET_CLASSES = 113  # that overlap with ImageNet


def imagenet_v2(folder: Path, split: str) -> DataSet:
    """Read ImageNet-V2, the images named "matched frequency".

    Its folders are numbers, 0 to 999, in the order of ImageNet's classes.
    """
    check_split(split, ("test",))
    base = root(folder, "imagenetv2-matched-frequency-format-val")
    classes = [(base / str(n), n) for n in range(IMAGENET_CLASSES)]
    _check_folders(base, [path.name for path, _ in classes])
    return by_class(classes, labels("imagenet"), base)


def imagenet_r(folder: Path, split: str) -> DataSet:
    """Read ImageNet-R: renditions, such as paintings and toys, of 200 classes."""
    return _wnid_folders(folder, split, "imagenet-r", SUBSET)


def imagenet_a(folder: Path, split: str) -> DataSet:
    """Read ImageNet-A: photographs of 200 classes that are difficult to classify."""
    return _wnid_folders(folder, split, "imagenet-a", SUBSET)


def imagenet_sketch(folder: Path, split: str) -> DataSet:
    """Read ImageNet-Sketch: black and white sketches of each class."""
    return _wnid_folders(folder, split, "sketch", IMAGENET_CLASSES)


def _wnid_folders(folder: Path, split: str, name: str, count: int) -> DataSet:
    """Read folders that have WordNet ids as names, in the order of ImageNet's classes."""
    check_split(split, ("test",))
    base = root(folder, name)
    found = wnid_folders(base)
    if not found:
        find(base, f"{name}/n*")  # raises: there are no such folders
    if other := [path.name for path in folders_in(base) if path not in found]:
        raise InputError(
            f"{base}: expected folders named by the WordNet ids of ImageNet, got {some(other)}; "
            "give the folder that contains them alone"
        )
    if len(found) != count:
        raise InputError(
            f"{base}: expected {count} folders, one per class, got {len(found)}; extract the "
            "archive again, because the accuracy depends on the number of classes"
        )
    known = prompts.wnids("imagenet")
    classes = [(path, column) for column, path in enumerate(found)]
    return by_class(classes, tuple(known[path.name] for path in found), base)


def _check_folders(base: Path, names: Iterable[str]) -> None:
    if missing := [name for name in names if not (base / name).is_dir()]:
        raise MissingFile(
            f"{base}: expected a folder for each class, got none for {some(missing, 5)}; extract "
            "the archive again",
            missing=f"folder {some(missing, 5)}",
        )


# ObjectNet


def without_border(path: Path) -> Image.Image:
    """Return an image of ObjectNet without its red border of 2 pixels."""
    image = open_image(path)
    width, height = image.size
    return image.crop((BORDER, BORDER, width - BORDER, height - BORDER))


def objectnet(folder: Path, split: str) -> DataSet:
    """Read the 113 classes of ObjectNet that overlap with ImageNet.

    The truth of an image is the list of ImageNet classes that its class stands for, such as
    "analog clock" and "digital clock" for an alarm clock; one of them is the right answer. The
    mappings come from the data set's own folder mappings/.
    """
    check_split(split, ("test",))
    base = root(folder, "objectnet-1.0")
    images = find(base, "images")
    groups = objectnet_classes(find(base, "mappings"))
    known = {label for group in groups.values() for label in group}
    used = tuple(label for label in labels("imagenet") if label in known)
    columns = {label: column for column, label in enumerate(used)}
    _check_folders(images, groups)
    pictures, truth = [], []
    for name, group in sorted(groups.items()):
        right = sorted(columns[label] for label in group)
        for path in images_in(images / name):
            pictures.append(Picture(str(path), partial(without_border, path)))
            truth.append(right)
    if not pictures:
        raise InputError(f"{images}: its folders contain no image; extract the archive again")
    return DataSet(pictures, truth, used)


def objectnet_classes(mappings: Path) -> dict[str, tuple[str, ...]]:
    """Return the ImageNet labels of each folder of ObjectNet that has any.

    Four files are read: `folder_to_objectnet_label.json` names the class of a folder,
    `objectnet_to_imagenet_1k.json` its ImageNet synsets, separated by "; ",
    `imagenet_to_label_2012_v2` has a synset in each line, and `pytorch_to_imagenet_2012_id.json`
    maps each class of ImageNet, in the usual order, to a line, from 0.
    """
    folders = read_json(mappings / "folder_to_objectnet_label.json")
    overlap = read_json(mappings / "objectnet_to_imagenet_1k.json")
    order = read_json(mappings / "pytorch_to_imagenet_2012_id.json")
    lines = read_text(mappings / "imagenet_to_label_2012_v2").splitlines()
    known = labels("imagenet")
    try:
        label_of_line = {line: known[int(column)] for column, line in order.items()}
        label_of_synset: dict[str, str] = {}
        repeated = set()  # "crane" is a bird and a machine
        for number, synset in enumerate(each.strip() for each in lines):
            if synset in label_of_synset:
                repeated.add(synset)
            label_of_synset[synset] = label_of_line[number]
        folder_of = {label: folder for folder, label in folders.items()}
        result = {}
        for name, synsets in overlap.items():
            parts = synsets.split("; ")
            if ambiguous := repeated.intersection(parts):
                raise ValueError(f"{ambiguous} has several lines")
            result[folder_of[name]] = tuple(label_of_synset[part] for part in parts)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise InputError(
            f"{mappings}: expected ObjectNet's mappings to ImageNet, got files that do not match "
            f"({error!r}); extract the archive again"
        ) from error
    if len(result) != OBJECTNET_CLASSES:
        raise InputError(
            f"{mappings}: expected {OBJECTNET_CLASSES} classes that overlap with ImageNet, got "
            f"{len(result)}; extract the archive again"
        )
    return result
