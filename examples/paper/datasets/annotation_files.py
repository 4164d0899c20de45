"""Read data sets whose labels are in annotation files: MATLAB, CSV, JSON and VOC's lists."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from examples.paper.datasets.base import DataSet
from examples.paper.datasets.files import (
    class_column,
    find,
    inside,
    lines,
    read_json,
    read_json_lines,
    root,
    rows,
)
from examples.paper.datasets.folders import by_class, folders_in
from examples.paper.datasets.matlab import mat
from examples.paper.datasets.names import Names, labels
from zeroshot.errors import InputError, shortened

SIGNS = 43  # classes of GTSRB
# The first release of the data set named the files dev.jsonl and test.jsonl; the annotations of the
# test sets came later.
SEEN = ("dev_seen.jsonl", "dev.jsonl")
MEME_FILES = {
    "train": ("train.jsonl",),
    "test": SEEN,
    "dev_seen": SEEN,
    "dev_unseen": ("dev_unseen.jsonl",),
    "test_seen": ("test_seen.jsonl",),
    "test_unseen": ("test_unseen.jsonl",),
}


def stanfordcars(folder: Path, split: str) -> DataSet:
    """Read Stanford Cars: images with class numbers from 1, in the order of cars_meta.mat.

    cars_test_annos.mat of the development kit has no classes; cars_test_annos_withlabels.mat does.
    """
    base = root(folder, "stanford_cars")
    if split == "test":
        name = "cars_test_annos_withlabels.mat"
        file = find(base, name, f"devkit/{name}")
    else:
        file = find(base, "devkit/cars_train_annos.mat")
    meta = find(base, "devkit/cars_meta.mat")
    names = Names("stanfordcars", meta)
    names.check_order(str(name) for name in np.ravel(mat(meta, "class_names")[0]))
    images = find(base, f"cars_{split}")
    (annotations,) = mat(file, "annotations")
    paths, truth = [], []
    for each in np.ravel(annotations).tolist():
        try:
            image, label = str(each["fname"]), int(each["class"])
        except (KeyError, ValueError, IndexError, TypeError, OverflowError) as error:
            raise InputError(
                f"{file}: expected annotations with fname and class "
                f"({shortened(str(error), 100)}); use cars_{split}_annos with labels"
            ) from error
        paths.append(images / Path(image).name)
        truth.append(class_column(label, file, len(names.labels), start=1))
    return DataSet(paths, truth, names.labels)


def flowers102(folder: Path, split: str) -> DataSet:
    """Read Oxford Flowers 102: the images of setid.mat, with class numbers from 1.

    "train" are the 2,040 images of `trnid` and `valid`, "test" those of `tstid`. The names of the
    numbers are not in the files; the prompt set lists them in their order.
    """
    base = root(folder, "flowers-102")
    answers, splits = find(base, "imagelabels.mat"), find(base, "setid.mat")
    images = find(base, "jpg")
    (every,) = mat(answers, "labels")
    chosen = mat(splits, "tstid") if split == "test" else mat(splits, "trnid", "valid")
    values = np.ravel(every).tolist()
    known = labels("flowers102")
    paths, truth = [], []
    for image in (each for part in chosen for each in np.ravel(part).tolist()):
        position = class_column(image, splits, len(values), start=1)
        paths.append(images / f"image_{position + 1:05d}.jpg")
        truth.append(class_column(values[position], answers, len(known), start=1))
    return DataSet(paths, truth, known)


def gtsrb(folder: Path, split: str) -> DataSet:
    """Read GTSRB: GT-final_test.csv (`;`) with Filename and ClassId, or a folder per class number.

    Source: https://benchmark.ini.rub.de/gtsrb_dataset.html
    """
    base = root(folder, "GTSRB")
    known = labels("gtsrb")
    if split == "train":
        training = find(base, "Final_Training/Images")
        classes = ((path, class_column(path.name, path, SIGNS)) for path in folders_in(training))
        return by_class(classes, known, training)
    name = "GT-final_test.csv"
    file = find(base, name, f"Final_Test/Images/{name}", f"Final_Test/{name}", f"../{name}")
    places = find(base, "Final_Test/Images")
    table = rows(file, ["Filename", "ClassId"], ";")
    return DataSet(
        [places / Path(row["Filename"]).name for row in table],
        [class_column(row["ClassId"], file, SIGNS) for row in table],
        known,
    )


def voc2007(folder: Path, split: str) -> DataSet:
    """Read Pascal VOC 2007: for each class, a list of all images with 1, -1 or 0.

    0 means that all objects of the class in the image are difficult; the image does not count for
    that class. "train" is VOC's trainval. Source: VOC2007 development kit, section 4.
    """
    base = root(folder, "VOCdevkit", "VOC2007")
    part = "test" if split == "test" else "trainval"
    known = labels("voc2007")
    files = [find(base, f"ImageSets/Main/{name}_{part}.txt") for name in known]
    images = [line.split()[0] for line in lines(files[0])]
    truth: list[list[int]] = [[] for _ in images]
    ignored: list[list[int]] = [[] for _ in images]
    for column, file in enumerate(files):
        pairs = [line.split() for line in lines(file)]
        if [pair[0] for pair in pairs] != images:
            raise InputError(
                f"{file}: expected the images of {files[0].name}, got other ones; extract it again"
            )
        for n, pair in enumerate(pairs):
            if len(pair) != 2 or pair[1] not in ("1", "-1", "0"):
                raise InputError(
                    f"{file}: expected an image and 1, -1 or 0 in a line, got "
                    f"{shortened(repr(' '.join(pair)))}; extract it again"
                )
            if pair[1] != "-1":
                (truth if pair[1] == "1" else ignored)[n].append(column)
    paths = [inside(base / "JPEGImages", f"{image}.jpg") for image in images]
    return DataSet(paths, truth, known, ignored)


def clevr_counts(folder: Path, split: str) -> DataSet:
    """Read CLEVR: the class is the number of objects, 3 to 10, a task of VTAB (arXiv 1910.04867).

    "test" is the published validation split, because the published test split has no scenes.
    """
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
            f"{path}: expected scenes with image_filename and 3 to 10 objects, got "
            f"{shortened(repr(error))} in scene {len(truth)}; extract the archive again"
        ) from error
    return DataSet(images, truth, known)


def hateful_memes(folder: Path, split: str) -> DataSet:
    """Read Hateful Memes; column 1 is hateful, and the metric is the area under the ROC curve.

    "test" is the seen development set, dev_seen.jsonl: as far as known, the paper measures on it.
    The other published files have their own names as split: "dev_unseen", "test_seen" and
    "test_unseen". Images that are missing in img/ are listed as failures of the evaluation.
    """
    base = root(folder, "hateful_memes", "data")
    places = find(base, "img")
    path = find(base, *MEME_FILES[split])
    images, truth = [], []
    for position, row in enumerate(read_json_lines(path), 1):
        label, image = row.get("label"), row.get("img")
        if label not in (0, 1) or not isinstance(image, str):
            raise InputError(
                f"{path}, entry {position}: expected img and label 0 or 1, got "
                f"{shortened(repr(row))}; use a file with labels (test.jsonl of the first release "
                "has none)"
            )
        images.append(places / Path(image).name)
        truth.append(int(label))
    if not images:
        raise InputError(f"{path}: expected memes, got none; download it again")
    return DataSet(images, truth, labels("hatefulmemes"))
