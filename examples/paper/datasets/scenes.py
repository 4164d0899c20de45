"""Read the data sets about the geometry of scenes: KITTI Distance and CLEVR Counts.

The paper takes both tasks from VTAB (Zhai et al. 2019, arXiv 1910.04867).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from examples.paper.datasets.base import DataSet, Entry
from examples.paper.datasets.layout import check_split, first_folder, read_json, read_text
from zeroshot import prompts
from zeroshot.errors import InputError, shortened

# Upper bounds of the first three classes in meters. Source: `_closest_vehicle_distance_pp` in
# github.com/google-research/task_adaptation, task_adaptation/data/kitti.py.
DISTANCES = (8.0, 20.0, 999.0)
VEHICLES = ("Car", "Van", "Truck")  # the same source
FIELDS = 15  # of a line of label_2; readme.txt of the KITTI object development kit
TYPE, Z = 0, 13  # the type of an object, and its distance along the camera axis in meters
SPLIT_SEED = 123  # tensorflow_datasets/object_detection/kitti.py, version 3.1.0
SPLIT_PERCENT = 10  # of the videos each for test and validation; the same source
IMAGE_ZIP = "data_object_image_2.zip and data_object_label_2.zip"
DEVKIT = "mapping/ of devkit_object.zip"
CLEVR_ZIP = "CLEVR_v1.0.zip"


def kitti(folder: Path, split: str) -> DataSet:
    """Read KITTI: the class is the distance of the nearest car, van or truck.

    The classes are up to 8 m, up to 20 m, farther, and no vehicle, in the order of the prompt set.
    The images published as "testing" have no labels. Like TensorFlow Datasets, from which VTAB
    takes KITTI, the reader divides the 7,481 labeled images by video: "test" has 711 images and
    "train" the other 6,770 (table 9 of the paper). "all" is all of them, without the files of the
    development kit.
    """
    check_split(split, ("train", "test", "all"))
    labels = first_folder(folder, ("training/label_2",), IMAGE_ZIP)
    images = first_folder(folder, ("training/image_2",), IMAGE_ZIP)
    files = sorted(labels.glob("*.txt"))
    if not files:
        raise InputError(f"{labels}: expected label files, got none; extract {IMAGE_ZIP} there")
    if split != "all":
        test = _kitti_test_images(folder, len(files))
        files = [path for path in files if (_number(path) in test) == (split == "test")]
    paths = [images / f"{path.stem}.png" for path in files]
    truth = [_distance_class(path) for path in files]
    return DataSet(paths, truth, tuple(prompts.labels("kitti")))


def _number(path: Path) -> int:
    if not path.stem.isdecimal():
        raise InputError(
            f"{path}: expected a number such as 000123.txt as file name; remove the file"
        )
    return int(path.stem)


def _distance_class(path: Path) -> int:
    """Return the column of the label file of one image."""
    nearest = min(_vehicle_distances(path), default=np.inf)
    return int(np.searchsorted(DISTANCES, nearest, side="left"))


def _vehicle_distances(path: Path) -> Iterable[float]:
    for number, line in enumerate(read_text(path, IMAGE_ZIP).splitlines(), 1):
        fields = line.split()
        if not fields:
            continue
        try:
            if len(fields) < FIELDS:
                raise ValueError(f"{len(fields)} fields")
            distance = float(fields[Z])
        except ValueError as error:
            raise InputError(
                f"{path}, line {number}: expected {FIELDS} fields with the distance at position "
                f"{Z + 1}, got {shortened(line)!r} ({error}); extract {IMAGE_ZIP} again"
            ) from error
        if fields[TYPE] in VEHICLES:
            yield distance


def _kitti_test_images(folder: Path, count: int) -> set[int]:
    """Return the numbers of the images in the test videos of TensorFlow Datasets.

    `train_rand.txt` has, for each image, the line of `train_mapping.txt` (from 1) whose second
    word is the video of the image. With the published files, the result has 711 images.
    """
    mapping = first_folder(folder, ("mapping", "devkit_object/mapping"), DEVKIT)
    order = read_text(mapping / "train_rand.txt", DEVKIT)
    lines = read_text(mapping / "train_mapping.txt", DEVKIT).splitlines()
    try:
        rows = [int(each) - 1 for each in order.split(",")]
        if min(rows) < 0:
            raise IndexError("line 0")
        videos = [lines[row].split()[1] for row in rows]
    except (ValueError, IndexError) as error:
        raise InputError(
            f"{mapping}: train_rand.txt and train_mapping.txt do not match ({error}); "
            f"extract {DEVKIT} again"
        ) from error
    if len(videos) != count:
        raise InputError(
            f"{folder}: expected {len(videos)} files in training/label_2, one per number in "
            f"mapping/train_rand.txt, got {count}; extract {IMAGE_ZIP} again"
        )
    names = sorted(set(videos))
    chosen = np.random.RandomState(SPLIT_SEED).choice(
        names, max(1, SPLIT_PERCENT * len(names) // 100), replace=False
    )
    test = set(chosen.tolist())
    return {number for number, video in enumerate(videos) if video in test}


def clevr_counts(folder: Path, split: str) -> DataSet:
    """Read CLEVR: the class is the number of objects, 3 to 10.

    "test" is the published validation split, because the published test split has no scenes. It has
    15,000 images; the paper's subset of 2,000 for training and 500 for testing (table 9) is not
    published, so figures on all images differ by the sample.
    """
    part = {"train": "train", "test": "val"}[check_split(split, ("train", "test"))]
    root = first_folder(folder, ("CLEVR_v1.0", "."), CLEVR_ZIP)
    path = root / "scenes" / f"CLEVR_{part}_scenes.json"
    labels = tuple(prompts.labels("clevrcounts"))
    columns = {label: column for column, label in enumerate(labels)}
    content = read_json(path, CLEVR_ZIP)
    images, truth = [], []
    try:
        for scene in content["scenes"]:
            images.append(root / "images" / part / Path(scene["image_filename"]).name)
            truth.append(columns[str(len(scene["objects"]))])
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{path}: expected scenes with image_filename and 3 to 10 objects, got {error!r} in "
            f"scene {len(truth)}; extract {CLEVR_ZIP} again"
        ) from error
    return DataSet(images, truth, labels)


ROWS: dict[str, Entry] = {
    "kitti": Entry(
        read=kitti,
        prompts="kitti",
        metric="top1",
        layout="training/image_2/*.png, training/label_2/*.txt, mapping/*.txt (of devkit_object)",
        license="CC BY-NC-SA 3.0",
        url="https://www.cvlibs.net/datasets/kitti/eval_object.php",
    ),
    "clevrcounts": Entry(
        read=clevr_counts,
        prompts="clevrcounts",
        metric="top1",
        layout="images/{train,val}/*.png, scenes/CLEVR_{train,val}_scenes.json",
        license="CC BY 4.0",
        url="https://cs.stanford.edu/people/jcjohns/clevr/",
    ),
}
