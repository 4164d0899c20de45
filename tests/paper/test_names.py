"""Tests that each label of a prompt set has exactly one published class name."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.paper.datasets.names import (
    CALTECH101,
    COUNTRY211,
    EUROSAT,
    FER2013,
    Names,
    labels,
)
from zeroshot.errors import InputError

SUN397 = Path(__file__).with_name("sun397_ClassName.txt")  # ClassName.txt of Partitions.zip
CATS = (
    "Abyssinian Bengal Birman Bombay British_Shorthair Egyptian_Mau Maine_Coon Persian Ragdoll "
    "Russian_Blue Siamese Sphynx"
)
DOGS = (
    "american_bulldog american_pit_bull_terrier basset_hound beagle boxer chihuahua "
    "english_cocker_spaniel english_setter german_shorthaired great_pyrenees havanese "
    "japanese_chin keeshond leonberger miniature_pinscher newfoundland pomeranian pug "
    "saint_bernard samoyed scottish_terrier shiba_inu staffordshire_bull_terrier "
    "wheaten_terrier yorkshire_terrier"
)
ALIKE = ("food101", "dtd", "resisc45", "birdsnap", "fgvcaircraft", "cifar100", "stanfordcars")


def scenes() -> list[str]:
    return [line[3:] for line in SUN397.read_text().split()]


def caltech101() -> list[str]:
    others = set(labels("caltech101")) - set(CALTECH101.values())
    return [*CALTECH101, *(label.replace(" ", "_") for label in others)]


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("sun397", scenes()),
        ("caltech101", caltech101()),
        ("eurosat", list(EUROSAT)),
        ("fer2013", list(FER2013)),
        ("country211", COUNTRY211),
        ("oxfordpets", f"{CATS} {DOGS}".split()),
        *((name, [label.replace(" ", "_") for label in labels(name)]) for name in ALIKE),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_label_has_exactly_one_published_name(name, published, tmp_path):
    names = Names(name, tmp_path)
    assert sorted(names.column(each) for each in published) == list(range(len(names.labels)))


def test_country_codes_are_sorted_as_the_labels_are():
    assert sorted(COUNTRY211) == COUNTRY211


def test_numbers_of_fer2013_are_the_columns(tmp_path):
    names = Names("fer2013", tmp_path)
    assert [names.column(each) for each in FER2013] == list(range(7))


def test_two_scenes_of_sun397_are_in_another_order_than_the_prompts(tmp_path):
    names = Names("sun397", tmp_path)
    moved = [n for n, scene in enumerate(scenes()) if names.column(scene) != n]
    assert [scenes()[n] for n in moved] == ["jail/indoor", "jail_cell"]


def test_numbered_classes_in_another_order_are_rejected(tmp_path):
    names = Names("cifar10", tmp_path / "batches.meta.txt")
    listed = list(names.labels)
    with pytest.raises(InputError, match="expected 'airplane' as class 0, got 'truck'"):
        names.check_order(listed[::-1])


def test_wrong_number_of_classes_is_rejected(tmp_path):
    with pytest.raises(InputError, match="expected 10 classes, got 2"):
        Names("cifar10", tmp_path).check_order(["airplane", "automobile"])
