"""Tests of data sets with labels in MATLAB files, CSV files and VOC's lists."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from examples.paper.datasets.names import labels
from examples.paper.datasets.table import load
from tests.paper.published import picture, write
from zeroshot.errors import InputError, MissingPackage


def cars(path: Path, rows: list[tuple[str, int]]) -> None:
    """Write annotations with a box, a class and a file name each."""
    fields = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname")
    values = [(1, 1, 9, 9, number, name) for name, number in rows]
    savemat(path, {"annotations": np.array([values], [(field, "O") for field in fields])})


@pytest.fixture
def garage(tmp_path: Path) -> Path:
    (tmp_path / "devkit").mkdir()
    names = np.array([[*labels("stanfordcars")]], "O")
    savemat(tmp_path / "devkit/cars_meta.mat", {"class_names": names})
    cars(tmp_path / "cars_test_annos_withlabels.mat", [("00001.jpg", 181), ("00002.jpg", 1)])
    cars(tmp_path / "devkit/cars_train_annos.mat", [("00001.jpg", 196)])
    picture(tmp_path / "cars_test/00001.jpg")
    picture(tmp_path / "cars_train/00001.jpg")
    return tmp_path


def test_stanford_cars_classes_start_at_1(garage):
    found = load("stanfordcars", garage)
    assert [path.relative_to(garage).as_posix() for path in found.images] == [
        "cars_test/00001.jpg",
        "cars_test/00002.jpg",
    ]
    assert found.truth == [180, 0]


def test_stanford_cars_file_of_one_image_is_read(garage):
    assert load("stanfordcars", garage, "train").truth == [195]


def test_stanford_cars_without_test_labels_names_the_file(garage):
    (garage / "cars_test_annos_withlabels.mat").unlink()
    with pytest.raises(InputError, match=r"no cars_test_annos_withlabels\.mat or devkit/"):
        load("stanfordcars", garage)


def test_stanford_cars_class_of_number_0_is_rejected(garage):
    cars(garage / "cars_test_annos_withlabels.mat", [("00001.jpg", 0)])
    with pytest.raises(InputError, match=r"within 1\.\.196, got '0'"):
        load("stanfordcars", garage)


def test_annotations_without_class_are_rejected(garage):
    values = np.array([[("00001.jpg",)]], [("fname", "O")])
    savemat(garage / "cars_test_annos_withlabels.mat", {"annotations": values})
    with pytest.raises(InputError, match="expected annotations with fname and class"):
        load("stanfordcars", garage)


@pytest.fixture
def garden(tmp_path: Path) -> Path:
    savemat(tmp_path / "imagelabels.mat", {"labels": np.array([[77, 1, 102, 5]], np.uint8)})
    splits = {"trnid": [[2]], "valid": [[4]], "tstid": [[3, 1]]}
    savemat(tmp_path / "setid.mat", {k: np.array(v, np.uint16) for k, v in splits.items()})
    picture(tmp_path / "jpg/image_00001.jpg")
    return tmp_path


def test_flowers_of_the_test_set_have_labels_from_1(garden):
    found = load("flowers102", garden)
    assert [path.name for path in found.images] == ["image_00003.jpg", "image_00001.jpg"]
    assert [found.labels[n] for n in found.truth] == ["blackberry lily", "passion flower"]


def test_flowers_train_on_two_sets(garden):
    found = load("flowers102", garden, "train")
    assert [path.name for path in found.images] == ["image_00002.jpg", "image_00004.jpg"]


def test_file_that_is_no_matlab_file_is_rejected(garden):
    write(garden / "setid.mat", b"no MATLAB file" * 20)
    with pytest.raises(InputError, match="expected a MATLAB file of version 5"):
        load("flowers102", garden)


def test_matlab_file_with_other_variables_is_rejected(garden):
    savemat(garden / "setid.mat", {"other": [1]})
    with pytest.raises(InputError, match="got no tstid"):
        load("flowers102", garden)


def test_matlab_file_without_scipy_says_what_to_install(garden, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(MissingPackage, match=r"pip install 'zeroshot-clip\[examples\]'"):
        load("flowers102", garden)


HEADER = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"


@pytest.mark.parametrize("place", ["", "Final_Test/Images/"])
def test_gtsrb_reads_class_ids_of_the_test_table(tmp_path, place):
    base = tmp_path / "GTSRB"
    picture(base / "Final_Test/Images/00000.ppm")
    row = "00000.ppm;53;54;6;5;48;49;16\r\n00001.ppm;42;45;5;5;36;40;1\r\n"
    write(base / f"{place}GT-final_test.csv", f"{HEADER}\r\n{row}")
    found = load("gtsrb", tmp_path)
    assert [path.name for path in found.images] == ["00000.ppm", "00001.ppm"]
    assert found.truth == [16, 1]


def test_gtsrb_training_folders_are_class_numbers(tmp_path):
    picture(tmp_path / "Final_Training/Images/00042/00000_00000.ppm")
    write(tmp_path / "Final_Training/Images/00042/GT-00042.csv", HEADER)
    assert load("gtsrb", tmp_path, "train").truth == [42]


def test_gtsrb_table_without_classes_is_rejected(tmp_path):
    picture(tmp_path / "Final_Test/Images/00000.ppm")
    write(tmp_path / "GT-final_test.csv", "Filename;Width\n00000.ppm;53\n")
    with pytest.raises(InputError, match="got no ClassId"):
        load("gtsrb", tmp_path)


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    main = tmp_path / "VOCdevkit/VOC2007/ImageSets/Main"
    for name in labels("voc2007"):
        write(main / f"{name}_test.txt", "000001 -1\n000002 -1\n000003 -1\n")
    write(main / "dog_test.txt", "000001  1\n000002 -1\n000003 -1\n")
    write(main / "person_test.txt", "000001  1\n000002  0\n000003  0\n")
    return tmp_path


def test_voc2007_separates_present_difficult_and_absent_objects(voc):
    found = load("voc2007", voc)
    dog, person = labels("voc2007").index("dog"), labels("voc2007").index("person")
    assert found.truth == [[dog, person], [], []]
    assert found.ignored == [[], [person], [person]]
    assert found.images[0] == voc / "VOCdevkit/VOC2007/JPEGImages/000001.jpg"


def test_voc2007_lists_of_different_images_are_rejected(voc):
    write(voc / "VOCdevkit/VOC2007/ImageSets/Main/dog_test.txt", "000001 1\n")
    with pytest.raises(InputError, match=r"expected the images of aeroplane_test\.txt"):
        load("voc2007", voc)


def test_voc2007_list_without_mark_is_rejected(voc):
    write(voc / "VOCdevkit/VOC2007/ImageSets/Main/dog_test.txt", "000001\n000002\n000003\n")
    with pytest.raises(InputError, match="expected an image and 1, -1 or 0"):
        load("voc2007", voc)
