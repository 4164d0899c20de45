"""Tests of data sets with labels in MATLAB, CSV and JSON files and VOC's lists."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from sklearn.metrics import roc_auc_score

import zeroshot
from examples.paper.datasets.annotation_files import clevr_counts, hateful_memes
from examples.paper.datasets.names import labels
from examples.paper.datasets.table import load
from tests.paper.published import write, write_image
from zeroshot.errors import InputError


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
    write_image(tmp_path / "cars_test/00001.jpg")
    write_image(tmp_path / "cars_train/00001.jpg")
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
    with pytest.raises(InputError, match=r"within 1\.\.196, got 0;"):
        load("stanfordcars", garage)


def test_annotations_without_class_are_rejected(garage):
    values = np.array([[("00001.jpg",)]], [("fname", "O")])
    savemat(garage / "cars_test_annos_withlabels.mat", {"annotations": values})
    with pytest.raises(InputError, match="expected annotations with fname and class"):
        load("stanfordcars", garage)


@pytest.mark.parametrize("names", ["AM General Hummer", 7, [[1, 2], [3, 4]]], ids=str)
def test_other_class_names_of_stanford_cars_are_rejected(garage, names):
    savemat(garage / "devkit/cars_meta.mat", {"class_names": names})
    with pytest.raises(InputError, match="expected 196 classes, got"):
        load("stanfordcars", garage)


def test_stanford_cars_class_of_infinity_is_rejected(garage):
    cars(garage / "cars_test_annos_withlabels.mat", [("00001.jpg", np.inf)])
    with pytest.raises(InputError, match="expected annotations with fname and class"):
        load("stanfordcars", garage)


@pytest.fixture
def garden(tmp_path: Path) -> Path:
    savemat(tmp_path / "imagelabels.mat", {"labels": np.array([[77, 1, 102, 5]], np.uint8)})
    splits = {"trnid": [[2]], "valid": [[4]], "tstid": [[3, 1]]}
    savemat(tmp_path / "setid.mat", {k: np.array(v, np.uint16) for k, v in splits.items()})
    write_image(tmp_path / "jpg/image_00001.jpg")
    return tmp_path


def test_flowers_of_the_test_set_have_labels_from_1(garden):
    found = load("flowers102", garden)
    assert [path.name for path in found.images] == ["image_00003.jpg", "image_00001.jpg"]
    assert [found.labels[n] for n in found.truth] == ["blackberry lily", "passion flower"]


def test_flowers_train_on_two_sets(garden):
    found = load("flowers102", garden, "train")
    assert [path.name for path in found.images] == ["image_00002.jpg", "image_00004.jpg"]


def test_flower_label_that_is_no_integer_is_rejected(garden):
    savemat(garden / "imagelabels.mat", {"labels": np.array([[77, 1, 2.5, 5]])})
    with pytest.raises(InputError, match=r"expected a class number within 1\.\.102, got 2\.5"):
        load("flowers102", garden)


@pytest.mark.parametrize("images", ["x", {"a": 1}, 2.5, 0], ids=str)
def test_flower_that_is_no_number_of_an_image_is_rejected(garden, images):
    savemat(garden / "setid.mat", {"trnid": images, "valid": [2]})
    with pytest.raises(InputError, match=r"setid\.mat: expected a class number within 1\.\.4, got"):
        load("flowers102", garden, "train")


def test_flowers_listed_in_a_table_are_read(garden):
    savemat(garden / "setid.mat", {"trnid": [[1, 2], [3, 4]], "valid": [2]})
    assert len(load("flowers102", garden, "train").images) == 5


def test_file_that_is_no_matlab_file_is_rejected(garden):
    write(garden / "setid.mat", b"no MATLAB file" * 20)
    with pytest.raises(InputError, match="expected a MATLAB file of version 5"):
        load("flowers102", garden)


def test_matlab_file_with_other_variables_is_rejected(garden):
    savemat(garden / "setid.mat", {"other": [1]})
    with pytest.raises(InputError, match="got no tstid"):
        load("flowers102", garden)


HEADER = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"


@pytest.mark.parametrize("place", ["", "Final_Test/Images/"])
def test_gtsrb_reads_class_ids_of_the_test_table(tmp_path, place):
    base = tmp_path / "GTSRB"
    write_image(base / "Final_Test/Images/00000.ppm")
    row = "00000.ppm;53;54;6;5;48;49;16\r\n00001.ppm;42;45;5;5;36;40;1\r\n"
    write(base / f"{place}GT-final_test.csv", f"{HEADER}\r\n{row}")
    found = load("gtsrb", tmp_path)
    assert [path.name for path in found.images] == ["00000.ppm", "00001.ppm"]
    assert found.truth == [16, 1]


def test_gtsrb_training_folders_are_class_numbers(tmp_path):
    write_image(tmp_path / "Final_Training/Images/00042/00000_00000.ppm")
    write(tmp_path / "Final_Training/Images/00042/GT-00042.csv", HEADER)
    assert load("gtsrb", tmp_path, "train").truth == [42]


def test_gtsrb_table_without_classes_is_rejected(tmp_path):
    write_image(tmp_path / "Final_Test/Images/00000.ppm")
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


@pytest.mark.parametrize("image", ["../../../../etc/passwd", "/etc/passwd"])
def test_voc2007_list_that_leaves_the_folder_is_rejected(voc, image):
    for name in labels("voc2007"):
        write(voc / f"VOCdevkit/VOC2007/ImageSets/Main/{name}_test.txt", f"{image}  1\n")
    with pytest.raises(InputError, match="expected a path inside"):
        load("voc2007", voc)


def test_annotation_files_without_images_are_rejected(garage, tmp_path):
    cars(garage / "cars_test_annos_withlabels.mat", [])
    with pytest.raises(InputError, match="part 'test' of stanfordcars, got none"):
        load("stanfordcars", garage)
    write_clevr(tmp_path, [])
    with pytest.raises(InputError, match="part 'test' of clevrcounts, got none"):
        load("clevrcounts", tmp_path)
    write(tmp_path / "Final_Test/Images/GT-final_test.csv", f"{HEADER}\n")
    with pytest.raises(InputError, match="part 'test' of gtsrb, got none"):
        load("gtsrb", tmp_path)


def write_clevr(folder: Path, counts: list[int], part: str = "val") -> Path:
    root = folder / "CLEVR_v1.0"
    (root / "images" / part).mkdir(parents=True)
    (root / "scenes").mkdir()
    scenes = []
    for number, count in enumerate(counts):
        name = f"CLEVR_{part}_{number:06}.png"
        Image.new("RGB", (48, 32)).save(root / "images" / part / name)
        objects = [{"shape": "cube", "color": "red", "material": "metal", "size": "large"}] * count
        scenes.append(
            {"split": part, "image_index": number, "image_filename": name, "objects": objects}
        )
    info = {"split": part, "version": "1.0", "license": "Creative Commons Attribution (CC-BY 4.0)"}
    path = root / "scenes" / f"CLEVR_{part}_scenes.json"
    path.write_text(json.dumps({"info": info, "scenes": scenes}))
    return folder


def test_class_of_clevr_is_the_number_of_objects(tmp_path: Path) -> None:
    data = clevr_counts(write_clevr(tmp_path, [3, 10, 7]), "test")

    assert [data.labels[column] for column in data.truth] == ["3", "10", "7"]
    assert all(path.is_file() for path in data.images)
    assert data.labels == tuple(zeroshot.prompts.labels("clevrcounts"))


def test_clevr_folder_itself_and_its_training_images_are_read(tmp_path: Path) -> None:
    folder = write_clevr(tmp_path, [4, 5], part="train") / "CLEVR_v1.0"

    assert len(clevr_counts(folder, "train").images) == 2


def test_clevr_scene_with_another_number_of_objects_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"3 to 10 objects, got KeyError.'2'. in scene 1"):
        clevr_counts(write_clevr(tmp_path, [3, 2]), "test")


def test_truncated_clevr_scenes_are_rejected(tmp_path: Path) -> None:
    folder = write_clevr(tmp_path, [3])
    path = folder / "CLEVR_v1.0/scenes/CLEVR_val_scenes.json"
    path.write_text(path.read_text()[:-5])

    with pytest.raises(InputError, match="invalid JSON"):
        clevr_counts(folder, "test")


def test_scenes_can_be_evaluated(tmp_path: Path, tiny: zeroshot.Model) -> None:
    data = clevr_counts(write_clevr(tmp_path, [3, 10, 7]), "test")
    classifier = tiny.classifier(list(data.labels), "clevrcounts")

    assert zeroshot.evaluate(classifier, data.images, data.named, draws=10).n == 3


MEMES = [
    {"id": 8291, "img": "img/08291.png", "label": 1, "text": "white people is this"},
    {"id": 46971, "img": "img/46971.png", "label": 0, "text": "bravery at its finest"},
    {"id": 1268, "img": "img/01268.png", "label": 0, "text": "a caf\u00e9"},
]


def write_memes(folder: Path, name: str = "dev_seen.jsonl") -> Path:
    (folder / "img").mkdir()
    for number, meme in enumerate(MEMES):
        Image.new("RGB", (30, 20), (80 * number, 0, 0)).save(folder / str(meme["img"]))
    (folder / name).write_text("\n".join(json.dumps(meme) for meme in MEMES) + "\n", "utf-8")
    return folder


@pytest.mark.parametrize("name", ["dev_seen.jsonl", "dev.jsonl"])
def test_test_part_of_memes_is_the_seen_development_set(tmp_path: Path, name: str) -> None:
    data = hateful_memes(write_memes(tmp_path, name), "test")

    assert data.truth == [1, 0, 0]
    assert data.images[0] == tmp_path / "img/08291.png"
    assert data.labels == ("meme", "hatespeech meme")


def test_other_parts_of_memes_are_read_by_name(tmp_path: Path) -> None:
    assert len(hateful_memes(write_memes(tmp_path, "test_seen.jsonl"), "test_seen").images) == 3


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"id": 1, "img": "img/1.png", "text": "no label"}, "entry 1: expected img and label"),
        ({"id": 1, "img": "img/1.png", "label": 2}, "entry 1: expected img and label"),
        ([1], "line 1: expected an object"),
    ],
    ids=["unlabeled", "other label", "list"],
)
def test_memes_without_a_valid_label_are_rejected(
    tmp_path: Path, row: object, problem: str
) -> None:
    folder = write_memes(tmp_path)
    (folder / "dev_seen.jsonl").write_text(json.dumps(row))

    with pytest.raises(InputError, match=problem):
        hateful_memes(folder, "test")


def test_truncated_memes_name_the_line(tmp_path: Path) -> None:
    folder = write_memes(tmp_path)
    path = folder / "dev_seen.jsonl"
    path.write_text(path.read_text("utf-8")[:-20], "utf-8")

    with pytest.raises(InputError, match="line 3: invalid JSON"):
        hateful_memes(folder, "test")


def test_missing_memes_are_named(tmp_path: Path) -> None:
    folder = write_memes(tmp_path)

    with pytest.raises(InputError, match=r"not hatefulmemes as published: no train\.jsonl"):
        load("hatefulmemes", folder, "train")


def test_paths_in_meme_files_do_not_leave_the_image_folder(tmp_path: Path) -> None:
    folder = write_memes(tmp_path)
    (folder / "dev_seen.jsonl").write_text('{"img": "../../etc/passwd", "label": 1}')

    assert hateful_memes(folder, "test").images == [folder / "img/passwd"]


def test_area_under_the_curve_of_memes_is_that_of_scikit_learn(
    tmp_path: Path, tiny: zeroshot.Model
) -> None:
    data = hateful_memes(write_memes(tmp_path), "test")
    classifier = tiny.classifier(list(data.labels), "hatefulmemes")
    scores, truth = classifier.predict_proba(data.images)[:, 1], np.array(data.truth)

    area = zeroshot.metrics.auroc(scores[truth == 1], scores[truth == 0])

    assert area == pytest.approx(roc_auc_score(truth, scores))


def test_missing_meme_image_is_a_listed_failure(tmp_path: Path, tiny: zeroshot.Model) -> None:
    data = hateful_memes(write_memes(tmp_path), "test")
    data.images[1].unlink()
    classifier = tiny.classifier(list(data.labels), "hatefulmemes")

    report = zeroshot.evaluate(classifier, data.images, data.named, draws=10)

    assert [failure.source for failure in report.failures] == [str(data.images[1])]
