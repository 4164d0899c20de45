"""Read data sets whose labels are numbers in annotation files: MATLAB, CSV and VOC's lists."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from examples.paper.datasets.base import DataSet
from examples.paper.datasets.files import check_split, find, lines, mat, number, root, rows
from examples.paper.datasets.folders import by_class, folders_in
from examples.paper.datasets.names import Names, labels
from zeroshot.errors import InputError, shortened

SIGNS = 43  # classes of GTSRB


def stanfordcars(folder: Path, split: str) -> DataSet:
    """Read Stanford Cars: images with class numbers from 1, in the order of cars_meta.mat.

    cars_test_annos.mat of the development kit has no classes; cars_test_annos_withlabels.mat does.
    """
    check_split(split)
    base = root(folder, "stanford_cars")
    if split == "test":
        name = "cars_test_annos_withlabels.mat"
        file = find(base, name, f"devkit/{name}")
    else:
        file = find(base, "devkit/cars_train_annos.mat")
    meta = find(base, "devkit/cars_meta.mat")
    names = Names("stanfordcars", meta)
    names.check_order(str(name) for name in mat(meta, "class_names")[0])
    images = find(base, f"cars_{split}")
    (annotations,) = mat(file, "annotations")
    paths, truth = [], []
    for each in np.atleast_1d(annotations):
        try:
            image, label = str(each["fname"]), str(int(each["class"]))
        except (KeyError, ValueError, IndexError, TypeError) as error:
            raise InputError(
                f"{file}: expected annotations with fname and class "
                f"({shortened(str(error), 100)}); use cars_{split}_annos with labels"
            ) from error
        paths.append(images / Path(image).name)
        truth.append(number(label, file, len(names.labels), start=1))
    return DataSet(paths, truth, names.labels)


def flowers102(folder: Path, split: str) -> DataSet:
    """Read Oxford Flowers 102: the images of setid.mat, with class numbers from 1.

    "train" are the 2,040 images of `trnid` and `valid`, "test" those of `tstid`. The names of the
    numbers are not in the files; the prompt set lists them in their order.
    """
    check_split(split)
    base = root(folder, "flowers-102")
    answers, splits = find(base, "imagelabels.mat"), find(base, "setid.mat")
    images = find(base, "jpg")
    (every,) = mat(answers, "labels")
    chosen = mat(splits, "tstid") if split == "test" else mat(splits, "trnid", "valid")
    values = np.atleast_1d(every).tolist()
    known = labels("flowers102")
    paths, truth = [], []
    for image in np.concatenate([np.atleast_1d(part) for part in chosen]).tolist():
        position = number(str(image), splits, len(values), start=1)
        paths.append(images / f"image_{image:05d}.jpg")
        truth.append(number(str(values[position]), answers, len(known), start=1))
    return DataSet(paths, truth, known)


def gtsrb(folder: Path, split: str) -> DataSet:
    """Read GTSRB: GT-final_test.csv (`;`) with Filename and ClassId, or a folder per class number.

    Source: https://benchmark.ini.rub.de/gtsrb_dataset.html
    """
    check_split(split)
    base = root(folder, "GTSRB")
    known = labels("gtsrb")
    if split == "train":
        training = find(base, "Final_Training/Images")
        classes = ((path, number(path.name, path, SIGNS)) for path in folders_in(training))
        return by_class(classes, known, training)
    name = "GT-final_test.csv"
    file = find(base, name, f"Final_Test/Images/{name}", f"Final_Test/{name}", f"../{name}")
    places = find(base, "Final_Test/Images")
    table = rows(file, ["Filename", "ClassId"], ";")
    return DataSet(
        [places / Path(row["Filename"]).name for row in table],
        [number(row["ClassId"], file, SIGNS) for row in table],
        known,
    )


def voc2007(folder: Path, split: str) -> DataSet:
    """Read Pascal VOC 2007: for each class, a list of all images with 1, -1 or 0.

    0 means that all objects of the class in the image are difficult; the image does not count for
    that class. "train" is VOC's trainval. Source: VOC2007 development kit, section 4.
    """
    check_split(split)
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
    paths = [base / "JPEGImages" / f"{image}.jpg" for image in images]
    return DataSet(paths, truth, known, ignored)
