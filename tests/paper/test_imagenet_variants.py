"""Read the robustness sets of ImageNet in their published layouts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import zeroshot
from examples.paper.datasets.imagenet_variants import (
    imagenet_a,
    imagenet_r,
    imagenet_sketch,
    imagenet_v2,
    objectnet,
    objectnet_classes,
    without_border,
)
from examples.paper.datasets.table import ROBUSTNESS, load
from tests.paper.published import (
    IMAGENET_LABELS,
    SUBSET,
    WNIDS,
    write_folders,
    write_objectnet,
)
from zeroshot.errors import InputError


def write_v2(folder: Path) -> Path:
    root = folder / "imagenetv2-matched-frequency-format-val"
    write_folders(root, map(str, range(1000)), {"0": 1, "2": 1, "10": 2, "999": 1}, ".jpeg")
    return folder


def test_folders_of_v2_are_numbers_of_classes_and_not_sorted_as_text(tmp_path: Path) -> None:
    data = imagenet_v2(write_v2(tmp_path), "test")

    assert data.truth == [0, 2, 10, 10, 999]
    assert [path.parent.name for path in data.images] == ["0", "2", "10", "10", "999"]
    assert data.labels == tuple(IMAGENET_LABELS)


def test_missing_folder_of_v2_is_rejected(tmp_path: Path) -> None:
    root = write_v2(tmp_path) / "imagenetv2-matched-frequency-format-val"
    (root / "500").rmdir()

    with pytest.raises(InputError, match="a folder for each class, got none for 500; extract"):
        imagenet_v2(root, "test")


@pytest.mark.parametrize(
    ("read", "name", "suffix"),
    [(imagenet_r, "imagenet-r", ".jpg"), (imagenet_a, "imagenet-a", ".jpg")],
    ids=["imagenet-r", "imagenet-a"],
)
def test_classes_of_r_and_a_are_those_of_their_folders(
    tmp_path: Path, read: object, name: str, suffix: str
) -> None:
    write_folders(tmp_path / name, SUBSET, {SUBSET[0]: 2, SUBSET[7]: 1}, suffix)
    (tmp_path / name / "README.txt").write_text("classes")

    data = ROBUSTNESS[name].read(tmp_path, "test")

    assert ROBUSTNESS[name].read is read
    assert len(data.labels) == 200
    assert data.labels[7] == zeroshot.prompts.wnids("imagenet")[SUBSET[7]]
    assert data.truth == [0, 0, 7]


def test_sketch_has_all_classes(tmp_path: Path) -> None:
    write_folders(tmp_path / "sketch", WNIDS, {WNIDS[1]: 1}, ".JPEG")

    data = imagenet_sketch(tmp_path / "sketch", "test")

    assert (len(data.labels), data.truth) == (1000, [1])


def test_incomplete_copy_is_rejected_because_fewer_classes_are_easier(tmp_path: Path) -> None:
    write_folders(tmp_path / "imagenet-r", SUBSET[:150], {SUBSET[0]: 1}, ".jpg")

    with pytest.raises(InputError, match="expected 200 folders, one per class, got 150"):
        imagenet_r(tmp_path, "test")


def test_folder_that_is_no_wordnet_id_is_rejected(tmp_path: Path) -> None:
    write_folders(tmp_path, [*SUBSET, "tench"], {}, ".jpg")

    with pytest.raises(InputError, match="WordNet ids of ImageNet, got tench"):
        imagenet_a(tmp_path, "test")


def test_empty_folders_are_rejected(tmp_path: Path) -> None:
    write_folders(tmp_path / "imagenet-r", SUBSET, {}, ".jpg")

    with pytest.raises(InputError, match="its folders contain no image"):
        imagenet_r(tmp_path, "test")


# ObjectNet


def test_truth_of_objectnet_is_every_imagenet_class_of_the_object(tmp_path: Path) -> None:
    data = objectnet(write_objectnet(tmp_path), "test")

    assert len(data.labels) == 114
    assert [[data.labels[column] for column in each] for each in data.truth] == [
        ["analog clock", "digital clock"],
        [IMAGENET_LABELS[3]],
        [IMAGENET_LABELS[3]],
    ]


def test_classes_of_objectnet_outside_of_imagenet_are_left_out(tmp_path: Path) -> None:
    groups = objectnet_classes(write_objectnet(tmp_path) / "objectnet-1.0/mappings")

    assert len(groups) == 113
    assert "blender" not in groups
    assert groups["alarm_clock"] == ("analog clock", "digital clock")


def test_red_border_of_objectnet_is_cropped(tmp_path: Path) -> None:
    image = Image.new("RGB", (24, 18), "red")
    inner = Image.fromarray(np.random.default_rng(1).integers(0, 255, (14, 20, 3), np.uint8))
    image.paste(inner, (2, 2))
    image.save(tmp_path / "a.png")

    assert without_border(tmp_path / "a.png").tobytes() == inner.tobytes()


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("objectnet_to_imagenet_1k.json", '{"Alarm clock": "sundial of nowhere"}'),
        ("objectnet_to_imagenet_1k.json", "[1]"),
        ("imagenet_to_label_2012_v2", "tench\n" * 1001),
        ("pytorch_to_imagenet_2012_id.json", '{"1000": 1}'),
    ],
    ids=["synset", "list", "lines", "column"],
)
def test_mappings_that_do_not_match_are_rejected(tmp_path: Path, file: str, content: str) -> None:
    (write_objectnet(tmp_path) / "objectnet-1.0/mappings" / file).write_text(content)

    with pytest.raises(InputError, match="mappings to ImageNet, got files that do not match"):
        objectnet(tmp_path, "test")


def test_mappings_with_another_number_of_classes_are_rejected(tmp_path: Path) -> None:
    mappings = write_objectnet(tmp_path) / "objectnet-1.0/mappings"
    path = mappings / "objectnet_to_imagenet_1k.json"
    content = json.loads(path.read_text())
    del content["Alarm clock"]
    path.write_text(json.dumps(content))

    with pytest.raises(InputError, match=r"expected 113 classes .* got 112"):
        objectnet(tmp_path, "test")


@pytest.mark.parametrize("name", ["imagenet-r", "imagenet-a", "imagenet-sketch", "imagenetv2"])
def test_folder_without_classes_says_what_is_expected(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=rf"not {name} as published: no .*Expected "):
        load(name, tmp_path, table=ROBUSTNESS)
