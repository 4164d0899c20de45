"""Read the data sets about the geometry of scenes: KITTI Distance and CLEVR Counts.

The paper takes both tasks from VTAB (Zhai et al. 2019, arXiv 1910.04867).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from examples.paper.datasets.base import DataSet
from examples.paper.datasets.files import check_split, find, read_json, read_text, root
from examples.paper.datasets.names import labels
from zeroshot.errors import InputError, shortened

# Upper bounds of the first three classes in meters. Source: `_closest_vehicle_distance_pp` in
# github.com/google-research/task_adaptation, task_adaptation/data/kitti.py.
DISTANCES = (8.0, 20.0, 999.0)
VEHICLES = ("Car", "Van", "Truck")  # the same source
FIELDS = 15  # of a line of label_2; readme.txt of the KITTI object development kit
TYPE, Z = 0, 13  # the type of an object, and its distance along the camera axis in meters
SPLIT_SEED = 123  # tensorflow_datasets/object_detection/kitti.py, version 3.1.0
SPLIT_PERCENT = 10  # of the videos each for test and validation; the same source


def kitti(folder: Path, split: str) -> DataSet:
    """Read KITTI: the class is the distance of the nearest car, van or truck.

    The classes are up to 8 m, up to 20 m, farther, and no vehicle, in the order of the prompt set.
    The images published as "testing" have no labels. Like TensorFlow Datasets, from which VTAB
    takes KITTI, the reader divides the labeled images by video into "test", as far as known 711
    images, and "train", all others. "all" is all of them, without the files of the development kit.
    """
    check_split(split, ("train", "test", "all"))
    answers, images = find(folder, "training/label_2"), find(folder, "training/image_2")
    files = sorted(answers.glob("*.txt"))
    if not files:
        raise InputError(f"{answers}: expected label files, got none; extract the archive again")
    if split != "all":
        test = _kitti_test_images(folder, len(files))
        files = [path for path in files if (_number(path) in test) == (split == "test")]
    paths = [images / f"{path.stem}.png" for path in files]
    return DataSet(paths, [_distance_class(path) for path in files], labels("kitti"))


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
    for number, line in enumerate(read_text(path).splitlines(), 1):
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
                f"{Z + 1}, got {shortened(line)!r} ({error}); extract the archive again"
            ) from error
        if fields[TYPE] in VEHICLES:
            yield distance


def _kitti_test_images(folder: Path, count: int) -> set[int]:
    """Return the numbers of the images in the test videos of TensorFlow Datasets.

    `train_rand.txt` has, for each image, the line of `train_mapping.txt` (from 1) whose second
    word is the video of the image.
    """
    mapping = find(folder, "mapping", "devkit_object/mapping")
    order = read_text(mapping / "train_rand.txt")
    lines = read_text(mapping / "train_mapping.txt").splitlines()
    try:
        rows = [int(each) - 1 for each in order.split(",")]
        if min(rows) < 0:
            raise IndexError("line 0")
        videos = [lines[row].split()[1] for row in rows]
    except (ValueError, IndexError) as error:
        raise InputError(
            f"{mapping}: train_rand.txt and train_mapping.txt do not match ({error}); "
            "extract devkit_object.zip again"
        ) from error
    if len(videos) != count:
        raise InputError(
            f"{folder}: expected {len(videos)} files in training/label_2, one per number in "
            f"mapping/train_rand.txt, got {count}; extract the archive again"
        )
    names = sorted(set(videos))
    chosen = np.random.RandomState(SPLIT_SEED).choice(
        names, max(1, SPLIT_PERCENT * len(names) // 100), replace=False
    )
    test = set(chosen.tolist())
    return {number for number, video in enumerate(videos) if video in test}


def clevr_counts(folder: Path, split: str) -> DataSet:
    """Read CLEVR: the class is the number of objects, 3 to 10.

    "test" is the published validation split, because the published test split has no scenes.
    """
    check_split(split)
    part = "train" if split == "train" else "val"
    base = root(folder, "CLEVR_v1.0")
    path, places = find(base, f"scenes/CLEVR_{part}_scenes.json"), find(base, f"images/{part}")
    known = labels("clevrcounts")
    columns = {label: column for column, label in enumerate(known)}
    content = read_json(path)
    images, truth = [], []
    try:
        for scene in content["scenes"]:
            images.append(places / Path(scene["image_filename"]).name)
            truth.append(columns[str(len(scene["objects"]))])
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{path}: expected scenes with image_filename and 3 to 10 objects, got {error!r} in "
            f"scene {len(truth)}; extract the archive again"
        ) from error
    return DataSet(images, truth, known)
