"""Tests of data sets whose splits are text files."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest

from examples.paper.datasets.names import labels
from examples.paper.datasets.table import load
from tests.paper.published import picture, write
from zeroshot.errors import InputError

CLASS_NAMES = Path(__file__).with_name("sun397_ClassName.txt")


def answers(name: str, folder: Path, split: str = "test") -> list[tuple[str, str]]:
    """Return the path of each image in the folder, and its label."""
    found = load(name, folder, split)
    return [
        (path.relative_to(folder).as_posix(), found.labels[n])
        for path, n in zip(found.images, found.truth, strict=True)
    ]


def test_food101_lists_images_without_suffix(tmp_path):
    write(tmp_path / "meta/test.txt", "apple_pie/1011328\nwaffles/981485\n")
    write(tmp_path / "meta/train.txt", "cup_cakes/1\n")
    picture(tmp_path / "images/apple_pie/1011328.jpg")
    assert answers("food101", tmp_path) == [
        ("images/apple_pie/1011328.jpg", "apple pie"),
        ("images/waffles/981485.jpg", "waffles"),
    ]
    assert answers("food101", tmp_path, "train") == [("images/cup_cakes/1.jpg", "cup cakes")]


def test_archive_extracted_into_the_folder_is_found(tmp_path):
    write(tmp_path / "food-101/meta/test.txt", "sushi/1\n")
    picture(tmp_path / "food-101/images/sushi/1.jpg")
    assert answers("food101", tmp_path) == [("food-101/images/sushi/1.jpg", "sushi")]


@pytest.mark.parametrize("line", ["../../etc/passwd", "/etc/passwd"])
def test_listed_path_outside_the_folder_is_rejected(tmp_path, line):
    write(tmp_path / "meta/test.txt", line)
    picture(tmp_path / "images/apple_pie/1.jpg")
    with pytest.raises(InputError, match="expected a path inside"):
        load("food101", tmp_path)


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    write(tmp_path / "test_images.txt", "path\nAllens_Hummingbird/1.jpg\nAnhinga/2.jpg\n")
    write(
        tmp_path / "images.txt",
        "url\tmd5\tpath\tspecies_id\tbb_x1\n"
        "http://a\t0\tAnhinga/2.jpg\t5\t1\nhttp://b\t0\tAnhinga/3.jpg\t5\t1\n",
    )
    picture(tmp_path / "download/images/Allens_Hummingbird/1.jpg")
    picture(tmp_path / "download/images/Anhinga/3.jpg")
    return tmp_path


def test_birdsnap_leaves_out_images_that_were_not_downloaded(birds, caplog):
    with caplog.at_level(logging.WARNING, "zeroshot"):
        found = answers("birdsnap", birds)
    assert found == [("download/images/Allens_Hummingbird/1.jpg", "Allens Hummingbird")]
    assert "1 of 2 listed images exist" in caplog.text


def test_birdsnap_trains_on_images_that_are_not_in_the_test_list(birds):
    assert answers("birdsnap", birds, "train") == [("download/images/Anhinga/3.jpg", "Anhinga")]


def test_birdsnap_without_any_image_is_rejected(birds):
    shutil.rmtree(birds / "download/images/Allens_Hummingbird")
    with pytest.raises(InputError, match="none of the 2 listed images exists"):
        load("birdsnap", birds)


def test_sun397_finds_scenes_by_name(tmp_path):
    shutil.copy(CLASS_NAMES, tmp_path / "ClassName.txt")
    write(
        tmp_path / "Testing_01.txt",
        "/a/abbey/sun_aa.jpg\n/a/apse/indoor/sun_ab.jpg\n/j/jail_cell/sun_ac.jpg\n"
        "/j/jail/indoor/sun_ad.jpg\n",
    )
    assert answers("sun397", tmp_path) == [
        ("a/abbey/sun_aa.jpg", "abbey"),
        ("a/apse/indoor/sun_ab.jpg", "apse indoor"),
        ("j/jail_cell/sun_ac.jpg", "jail cell"),
        ("j/jail/indoor/sun_ad.jpg", "jail indoor"),
    ]


def test_sun397_partitions_may_lie_beside_the_images(tmp_path):
    shutil.copy(CLASS_NAMES, write(tmp_path / "Partitions/ClassName.txt"))
    write(tmp_path / "Partitions/Training_01.txt", "/y/yard/sun_aa.jpg\n")
    picture(tmp_path / "SUN397/y/yard/sun_aa.jpg")
    assert answers("sun397", tmp_path, "train") == [("SUN397/y/yard/sun_aa.jpg", "yard")]


def test_scene_that_class_names_do_not_list_is_rejected(tmp_path):
    shutil.copy(CLASS_NAMES, tmp_path / "ClassName.txt")
    write(tmp_path / "Testing_01.txt", "/a/abbeys/sun_aa.jpg\n")
    with pytest.raises(InputError, match=r"'/a/abbeys' is not in ClassName\.txt"):
        load("sun397", tmp_path)


def test_aircraft_variants_contain_spaces_and_slashes(tmp_path):
    data = tmp_path / "fgvc-aircraft-2013b" / "data"
    write(data / "variants.txt", "\n".join(labels("fgvcaircraft")))
    write(data / "images_variant_test.txt", "0062765 BAE 146-200\n0481847 F-16A/B\n")
    write(data / "images_variant_trainval.txt", "1025794 707-320\n")
    folder = "fgvc-aircraft-2013b/data/images"
    assert answers("fgvcaircraft", tmp_path) == [
        (f"{folder}/0062765.jpg", "BAE 146-200"),
        (f"{folder}/0481847.jpg", "F-16A/B"),
    ]
    assert answers("fgvcaircraft", tmp_path, "train") == [(f"{folder}/1025794.jpg", "707-320")]


def test_other_aircraft_variants_are_rejected(tmp_path):
    write(tmp_path / "data/variants.txt", "Boeing 707\n")
    write(tmp_path / "data/images_variant_test.txt", "1 Boeing 707\n")
    with pytest.raises(InputError, match="expected the 100 variants, got 1 lines"):
        load("fgvcaircraft", tmp_path)


def test_dtd_trains_on_two_lists(tmp_path):
    write(tmp_path / "dtd/labels/test1.txt", "polka-dotted/polka-dotted_0002.jpg\n")
    write(tmp_path / "dtd/labels/train1.txt", "banded/banded_0002.jpg\n")
    write(tmp_path / "dtd/labels/val1.txt", "zigzagged/zigzagged_0003.jpg\n")
    assert answers("dtd", tmp_path) == [
        ("dtd/images/polka-dotted/polka-dotted_0002.jpg", "polka-dotted")
    ]
    assert [label for _, label in answers("dtd", tmp_path, "train")] == ["banded", "zigzagged"]


def test_pets_are_found_by_breed_and_not_by_number(tmp_path):
    write(
        tmp_path / "annotations/test.txt",
        "#Image CLASS-ID SPECIES BREED ID\n"
        "Abyssinian_201 1 1 1\namerican_bulldog_203 2 2 1\nyorkshire_terrier_98 37 2 25\n",
    )
    assert answers("oxfordpets", tmp_path) == [
        ("images/Abyssinian_201.jpg", "Abyssinian"),
        ("images/american_bulldog_203.jpg", "american bulldog"),
        ("images/yorkshire_terrier_98.jpg", "yorkshire terrier"),
    ]


def test_list_that_is_no_text_is_rejected(tmp_path):
    write(tmp_path / "annotations/test.txt", b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read as text"):
        load("oxfordpets", tmp_path)


@pytest.mark.parametrize(
    "name", ["food101", "birdsnap", "sun397", "fgvcaircraft", "dtd", "oxfordpets"]
)
def test_unknown_split_is_rejected(name, tmp_path):
    with pytest.raises(InputError, match="expected a split among train, test, got 'val'"):
        load(name, tmp_path, "val")
