"""Tests of data sets with a folder per class, and of ImageNet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from examples.paper.datasets.table import load
from tests.paper.published import picture, write
from zeroshot import prompts
from zeroshot.errors import InputError


@pytest.fixture
def objects(tmp_path: Path) -> Path:
    for name in ("Faces", "Faces_easy", "accordion", "BACKGROUND_Google"):
        for n in range(1, 33):
            picture(tmp_path / "101_ObjectCategories" / name / f"image_{n:04d}.jpg")
    return tmp_path


def test_caltech101_keeps_30_images_of_each_class_for_training(objects):
    train, test = load("caltech101", objects, "train"), load("caltech101", objects)
    assert len(train.images) == 4 * 30
    assert len(test.images) == 4 * 2
    assert not set(train.images) & set(test.images)
    assert np.bincount(train.truth, minlength=102)[[0, 1, 2, 5]].tolist() == [30] * 4


def test_caltech101_split_does_not_change_between_calls(objects):
    assert load("caltech101", objects).images == load("caltech101", objects).images


def test_caltech101_folders_of_faces_get_their_own_labels(objects):
    found = load("caltech101", objects)
    of = {
        path.parent.name: found.labels[n] for path, n in zip(found.images, found.truth, strict=True)
    }
    assert of == {
        "BACKGROUND_Google": "background",
        "Faces": "off-center face",
        "Faces_easy": "centered face",
        "accordion": "accordion",
    }


def test_caltech101_accepts_the_folder_of_the_archive_itself(objects):
    assert len(load("caltech101", objects / "101_ObjectCategories").images) == 8


def test_folder_that_is_no_class_is_rejected(objects):
    picture(objects / "101_ObjectCategories" / "holiday" / "a.jpg")
    with pytest.raises(InputError, match="'holiday' is no class of caltech101"):
        load("caltech101", objects)


def test_eurosat_maps_folders_to_the_order_of_the_prompts(tmp_path):
    for name in ("AnnualCrop", "Forest", "HerbaceousVegetation", "SeaLake"):
        picture(tmp_path / "2750" / name / f"{name}_1.jpg")
    found = load("eurosat", tmp_path)
    assert [found.labels[n] for n in found.truth] == [
        "annual crop land",
        "forest",
        "brushland or shrubland",
        "lake or sea",
    ]


@pytest.mark.parametrize("name", ["eurosat", "resisc45"])
def test_data_set_without_published_split_has_no_training_images(name, tmp_path):
    with pytest.raises(InputError, match="expected a split among test, got 'train'"):
        load(name, tmp_path, "train")


def test_resisc45_folders_are_read_with_underscores(tmp_path):
    for name in ("airplane", "sea_ice", "thermal_power_station", "wetland"):
        picture(tmp_path / "NWPU-RESISC45" / name / f"{name}_001.jpg")
    found = load("resisc45", tmp_path)
    assert [found.labels[n] for n in found.truth] == [
        "airplane",
        "sea ice",
        "thermal power station",
        "wetland",
    ]


def test_country211_folders_are_country_codes(tmp_path):
    for code in ("AD", "DE", "XK", "ZW"):
        picture(tmp_path / "country211" / "test" / code / "1.jpg")
    found = load("country211", tmp_path)
    assert [found.labels[n] for n in found.truth] == ["Andorra", "Germany", "Kosovo", "Zimbabwe"]


def test_country211_trains_on_train_and_valid_images(tmp_path):
    for part in ("train", "valid", "test"):
        picture(tmp_path / part / "AD" / f"{part}.jpg")
    assert [path.stem for path in load("country211", tmp_path, "train").images] == [
        "train",
        "valid",
    ]


def test_hidden_files_of_macos_are_no_images(objects):
    write(objects / "101_ObjectCategories" / "accordion" / "._image_0001.jpg", b"\0")
    assert len(load("caltech101", objects).images) == 8


def devkit(folder: Path, ground_truth: list[int]) -> None:
    """Write ILSVRC2012_devkit_t12 with class numbers in the opposite order of the WordNet ids."""
    wnids = list(prompts.wnids("imagenet"))[::-1]
    kinds = [
        ("ILSVRC2012_ID", "O"),
        ("WNID", "O"),
        ("words", "O"),
        ("gloss", "O"),
        ("num_children", "O"),
    ]
    numbers = enumerate([*wnids, "n00001740"], 1)  # the last is an inner node of the tree
    synsets = np.array([(n, wnid, "a, b", "a thing", 0) for n, wnid in numbers], kinds)
    data = folder / "ILSVRC2012_devkit_t12" / "data"
    data.mkdir(parents=True)
    savemat(data / "meta.mat", {"synsets": synsets[:, None]})
    text = "\n".join(str(n) for n in ground_truth)
    write(data / "ILSVRC2012_validation_ground_truth.txt", text)


def test_flat_imagenet_takes_truth_from_the_devkit(tmp_path):
    devkit(tmp_path, [1000, 999, 1])
    for n in (1, 2, 3):
        picture(tmp_path / "val" / f"ILSVRC2012_val_{n:08d}.JPEG")
    found = load("imagenet", tmp_path)
    assert found.truth == [0, 1, 999]
    assert [path.stem[-1] for path in found.images] == ["1", "2", "3"]


def test_flat_imagenet_with_missing_images_keeps_the_truth_of_the_others(tmp_path):
    devkit(tmp_path, [1000, 999, 1])
    picture(tmp_path / "val" / "ILSVRC2012_val_00000003.JPEG")
    assert load("imagenet", tmp_path).truth == [999]


def test_flat_imagenet_without_devkit_names_the_missing_file(tmp_path):
    picture(tmp_path / "val" / "ILSVRC2012_val_00000001.JPEG")
    with pytest.raises(InputError, match=r"no ILSVRC2012_devkit_t12/data/ILSVRC2012_validation"):
        load("imagenet", tmp_path)


def test_ground_truth_that_is_too_short_is_rejected(tmp_path):
    devkit(tmp_path, [1000])
    picture(tmp_path / "ILSVRC2012_val_00000002.JPEG")
    with pytest.raises(InputError, match=r"expected a number within 1\.\.1"):
        load("imagenet", tmp_path)


@pytest.mark.parametrize("part", ["val/", ""])
def test_imagenet_in_folders_of_wordnet_ids(tmp_path, part):
    picture(tmp_path / f"{part}n01440764" / "ILSVRC2012_val_00000293.JPEG")
    picture(tmp_path / f"{part}n01443537" / "ILSVRC2012_val_00000236.JPEG")
    found = load("imagenet", tmp_path)
    assert [found.labels[n] for n in found.truth] == ["tench", "goldfish"]


def test_folder_of_another_wordnet_id_is_rejected(tmp_path):
    picture(tmp_path / "n00000001" / "a.JPEG")
    with pytest.raises(InputError, match="n00000001 is none of the 1000 classes"):
        load("imagenet", tmp_path)


def test_folder_without_imagenet_says_what_is_expected_and_where_to_get_it(tmp_path):
    with pytest.raises(InputError) as caught:
        load("imagenet", tmp_path)
    assert "Expected val/n01440764/*.JPEG" in str(caught.value)
    assert "https://image-net.org/download-images" in str(caught.value)
