"""The table has the data sets of the paper, and their readers get published splits only."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.paper.datasets.table import ROBUSTNESS, TABLE, load
from zeroshot import prompts
from zeroshot.errors import InputError

PAPER = (  # noqa: SIM905 - table 9, without the spaces
    "food101 cifar10 cifar100 birdsnap sun397 stanfordcars fgvcaircraft voc2007 dtd oxfordpets "
    "caltech101 flowers102 mnist fer2013 stl10 eurosat resisc45 gtsrb kitti country211 "
    "patchcamelyon ucf101 kinetics700 clevrcounts hatefulmemes sst2 imagenet"
).split()


def test_table_has_the_27_data_sets_of_the_paper_with_their_prompts() -> None:
    assert sorted(TABLE) == sorted(PAPER)
    for name, entry in TABLE.items():
        assert entry.prompts == name
        assert name in prompts.available()
        assert entry.layout
        assert entry.license
        assert entry.url.startswith("http"), name
    assert {name for name, entry in TABLE.items() if entry.metric != "top1"} == {
        *("fgvcaircraft", "oxfordpets", "caltech101", "flowers102"),  # mean per class
        *("voc2007", "kinetics700", "hatefulmemes"),
    }


def test_rows_of_robustness_have_the_labels_of_imagenet() -> None:
    assert {entry.prompts for entry in ROBUSTNESS.values()} == {"imagenet"}
    assert all(entry.url.startswith("https://") for entry in ROBUSTNESS.values())


@pytest.mark.parametrize("name", [*TABLE, *ROBUSTNESS])
def test_missing_files_are_looked_for_in_the_folder_of_the_archive(
    name: str, tmp_path: Path
) -> None:
    table = TABLE if name in TABLE else ROBUSTNESS
    inner = tmp_path.joinpath(*table[name].archive)
    inner.mkdir(parents=True, exist_ok=True)

    with pytest.raises(InputError) as caught:
        load(name, tmp_path, "test", table)

    assert str(inner) in str(caught.value.__cause__)
    if inner != tmp_path:
        assert f"in it or in its folder {'/'.join(table[name].archive)}" in str(caught.value)
    assert len(str(caught.value)) < 600


def test_other_subfolder_with_the_files_is_named(tmp_path: Path) -> None:
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist/t10k-images-idx3-ubyte.gz").touch()

    with pytest.raises(InputError, match="in it or in its folder MNIST/raw; mnist contains") as got:
        load("mnist", tmp_path)
    assert f"try {tmp_path / 'mnist'}" in str(got.value)


@pytest.mark.parametrize("name", [*TABLE, *ROBUSTNESS])
def test_split_that_is_not_published_is_rejected(name: str, tmp_path: Path) -> None:
    table = TABLE if name in TABLE else ROBUSTNESS
    expected = f"among {', '.join(table[name].splits)}, got 'other'; the data set publishes no"

    assert "test" in table[name].splits
    with pytest.raises(InputError, match=expected):
        load(name, tmp_path, "other", table)


@pytest.mark.parametrize("name", ["eurosat", "resisc45", *ROBUSTNESS])
def test_data_set_without_published_split_has_no_training_images(name: str, tmp_path: Path) -> None:
    table = TABLE if name in TABLE else ROBUSTNESS

    with pytest.raises(InputError, match="expected a split among test, got 'train'"):
        load(name, tmp_path, "train", table)
