"""Read the data sets of the paper's robustness figures: other images of the classes of ImageNet.

ImageNet-V2 and ImageNet-Sketch have all 1,000 classes, ImageNet-R and ImageNet-A 200 of them, and
113 classes of ObjectNet stand for one or more classes of ImageNet. `labels` of the results are the
ImageNet labels that take part, so select them from a head before scoring: the accuracy on a part
of the classes is among these only (Taori et al. 2020, arXiv 2007.00644, which the paper follows).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from examples.paper.datasets.base import DataSet, Entry
from examples.paper.datasets.layout import (
    Picture,
    check_split,
    first_folder,
    image_files,
    read_json,
    read_text,
)
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
OBJECTNET_ZIP = "objectnet-1.0.zip"


def imagenet_v2(folder: Path, split: str) -> DataSet:
    """Read ImageNet-V2, "matched frequency" as in the paper: 10 images of each class.

    Its folders are numbers, 0 to 999, in the order of ImageNet's classes.
    """
    check_split(split, ("test",))
    archive = "imagenetv2-matched-frequency.tar.gz"
    root = first_folder(folder, ("imagenetv2-matched-frequency-format-val", "."), archive)
    labels = tuple(prompts.labels("imagenet"))
    names = [str(number) for number in range(len(labels))]
    _check_folders(root, names, archive)
    return _collect(((root / name, column) for column, name in enumerate(names)), labels)


def imagenet_r(folder: Path, split: str) -> DataSet:
    """Read ImageNet-R: 30,000 renditions, such as paintings and toys, of 200 classes."""
    return _wnid_folders(folder, split, "imagenet-r", SUBSET)


def imagenet_a(folder: Path, split: str) -> DataSet:
    """Read ImageNet-A: photographs of 200 classes that ResNet-50 classifies wrongly."""
    return _wnid_folders(folder, split, "imagenet-a", SUBSET)


def imagenet_sketch(folder: Path, split: str) -> DataSet:
    """Read ImageNet-Sketch: about 50 black and white sketches of each class."""
    return _wnid_folders(folder, split, "sketch", IMAGENET_CLASSES)


def _wnid_folders(folder: Path, split: str, name: str, count: int) -> DataSet:
    """Read folders that have WordNet ids as names, in the order of ImageNet's classes."""
    check_split(split, ("test",))
    root = first_folder(folder, (name, "."), f"the archive with the folder {name}/")
    known = prompts.wnids("imagenet")
    found = sorted(path.name for path in root.iterdir() if path.is_dir())
    if unknown := [each for each in found if each not in known]:
        raise InputError(
            f"{root}: expected folders named by the WordNet ids of ImageNet, got {some(unknown)}; "
            "give the folder that contains them alone"
        )
    if len(found) != count:
        raise InputError(
            f"{root}: expected {count} folders, one per class, got {len(found)}; extract the "
            "archive again, because the accuracy depends on the number of classes"
        )
    labels = tuple(known[wnid] for wnid in found)
    return _collect(((root / wnid, column) for column, wnid in enumerate(found)), labels)


def imagenet_validation(folder: Path, labels: Iterable[str]) -> tuple[list[Path], list[str]]:
    """Return the images of these classes of ImageNet's validation part, and the label of each.

    `folder` contains val/ with a folder per WordNet id, or these folders themselves.
    """
    wanted = set(labels)
    wnids = [wnid for wnid, label in prompts.wnids("imagenet").items() if label in wanted]
    archive = "ILSVRC2012_img_val.tar, sorted into a folder per WordNet id,"
    root = first_folder(folder, ("val", "."), archive)
    _check_folders(root, wnids, archive)
    known = prompts.wnids("imagenet")
    images = [(path, known[wnid]) for wnid in wnids for path in image_files(root / wnid)]
    if not images:
        raise InputError(f"{root}: expected images, got none; extract {archive} there")
    return [path for path, _ in images], [label for _, label in images]


def _check_folders(root: Path, names: Iterable[str], archive: str) -> None:
    if missing := [name for name in names if not (root / name).is_dir()]:
        raise InputError(
            f"{root}: expected a folder for each class, got none for {some(missing, 5)}; extract "
            f"{archive} there"
        )


def _collect(folders: Iterable[tuple[Path, int]], labels: tuple[str, ...]) -> DataSet:
    pairs = [(path, column) for folder, column in folders for path in image_files(folder)]
    if not pairs:
        raise InputError("expected images in the folders of the classes, got none; extract them")
    return DataSet([path for path, _ in pairs], [column for _, column in pairs], labels)


# ObjectNet


@dataclass(frozen=True)
class Borderless(Picture):
    """An image of ObjectNet without its red border."""

    def picture(self) -> Image.Image:
        """Return the image without the border of 2 pixels."""
        image = open_image(self.path)
        width, height = image.size
        return image.crop((BORDER, BORDER, width - BORDER, height - BORDER))


def objectnet(folder: Path, split: str) -> DataSet:
    """Read the 113 classes of ObjectNet that overlap with ImageNet.

    The truth of an image is the list of ImageNet classes that its class stands for, such as
    "analog clock" and "digital clock" for an alarm clock; one of them is the right answer. The
    mappings come from the data set's own folder mappings/.
    """
    check_split(split, ("test",))
    root = first_folder(folder, ("objectnet-1.0", "."), OBJECTNET_ZIP)
    images = first_folder(root, ("images",), OBJECTNET_ZIP)
    groups = objectnet_classes(root / "mappings")
    labels = tuple(
        label
        for label in prompts.labels("imagenet")
        if any(label in group for group in groups.values())
    )
    columns = {label: column for column, label in enumerate(labels)}
    _check_folders(images, groups, OBJECTNET_ZIP)
    pictures, truth = [], []
    for name, group in sorted(groups.items()):
        right = sorted(columns[label] for label in group)
        for path in image_files(images / name):
            pictures.append(Borderless(path))
            truth.append(right)
    if not pictures:
        raise InputError(f"{images}: expected images, got none; extract {OBJECTNET_ZIP} there")
    return DataSet(pictures, truth, labels)


def objectnet_classes(mappings: Path) -> dict[str, tuple[str, ...]]:
    """Return the ImageNet labels of each folder of ObjectNet that has any.

    Four files are read: `folder_to_objectnet_label.json` names the class of a folder,
    `objectnet_to_imagenet_1k.json` its ImageNet synsets, separated by "; ",
    `imagenet_to_label_2012_v2` has a synset in each line, and `pytorch_to_imagenet_2012_id.json`
    maps each class of ImageNet, in the usual order, to a line, from 0.
    """
    folders = read_json(mappings / "folder_to_objectnet_label.json", OBJECTNET_ZIP)
    overlap = read_json(mappings / "objectnet_to_imagenet_1k.json", OBJECTNET_ZIP)
    order = read_json(mappings / "pytorch_to_imagenet_2012_id.json", OBJECTNET_ZIP)
    lines = read_text(mappings / "imagenet_to_label_2012_v2", OBJECTNET_ZIP).splitlines()
    labels = list(prompts.labels("imagenet"))
    try:
        label_of_line = {line: labels[int(column)] for column, line in order.items()}
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
            f"({error!r}); extract {OBJECTNET_ZIP} again"
        ) from error
    if len(result) != OBJECTNET_CLASSES:
        raise InputError(
            f"{mappings}: expected {OBJECTNET_CLASSES} classes that overlap with ImageNet, got "
            f"{len(result)}; extract {OBJECTNET_ZIP} again"
        )
    return result


ROWS: dict[str, Entry] = {
    "imagenetv2": Entry(
        read=imagenet_v2,
        prompts="imagenet",
        metric="top1",
        layout="imagenetv2-matched-frequency-format-val/{0..999}/*.jpeg",
        license="images from Flickr with their own licenses; may be used like ImageNet",
        url="https://huggingface.co/datasets/vaishaal/ImageNetV2",
    ),
    "imagenet-r": Entry(
        read=imagenet_r,
        prompts="imagenet",
        metric="top1",
        layout="imagenet-r/n*/*.jpg",
        license="no license stated for the images",
        url="https://github.com/hendrycks/imagenet-r",
    ),
    "imagenet-a": Entry(
        read=imagenet_a,
        prompts="imagenet",
        metric="top1",
        layout="imagenet-a/n*/*.jpg",
        license="no license stated for the images; repository MIT",
        url="https://github.com/hendrycks/natural-adv-examples",
    ),
    "imagenet-sketch": Entry(
        read=imagenet_sketch,
        prompts="imagenet",
        metric="top1",
        layout="sketch/n*/*.JPEG",
        license="no license stated for the images; repository MIT",
        url="https://github.com/HaohanWang/ImageNet-Sketch",
    ),
    "objectnet": Entry(
        read=objectnet,
        prompts="imagenet",
        metric="top1",
        layout="objectnet-1.0/images/*/*.png, objectnet-1.0/mappings/",
        license="CC BY 4.0 with two clauses: never train on it, post images only with the border",
        url="https://objectnet.dev",
    ),
}
