"""Read the robustness sets of ImageNet in their published layouts, and measure accuracy on them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import zeroshot
from examples.paper import robustness
from examples.paper.datasets.base import DataSet
from examples.paper.datasets.robustness import (
    imagenet_a,
    imagenet_r,
    imagenet_sketch,
    imagenet_v2,
    objectnet,
    objectnet_classes,
    without_border,
)
from examples.paper.datasets.table import ROBUSTNESS, load
from tests.support import axes_classifier
from zeroshot.errors import InputError
from zeroshot.evaluation.figures import Figure

WNIDS = list(zeroshot.prompts.wnids("imagenet"))
LABELS = list(zeroshot.prompts.labels("imagenet"))
SUBSET = WNIDS[3:1000:5]  # 200 classes


def write_folders(root: Path, names: Iterable[str], images: dict[str, int], suffix: str) -> Path:
    """Write a folder per class, with this number of images in some of them."""
    for name in names:
        (root / name).mkdir(parents=True)
        for number in range(images.get(name, 0)):
            color = (40 * number, len(name), 90)
            Image.new("RGB", (20, 16), color).save(root / name / f"{number}{suffix}")
    return root


def write_v2(folder: Path) -> Path:
    root = folder / "imagenetv2-matched-frequency-format-val"
    write_folders(root, map(str, range(1000)), {"0": 1, "2": 1, "10": 2, "999": 1}, ".jpeg")
    return folder


def test_folders_of_v2_are_numbers_of_classes_and_not_sorted_as_text(tmp_path: Path) -> None:
    data = imagenet_v2(write_v2(tmp_path), "test")

    assert data.truth == [0, 2, 10, 10, 999]
    assert [path.parent.name for path in data.images] == ["0", "2", "10", "10", "999"]
    assert data.labels == tuple(LABELS)


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


def test_empty_folders_and_a_training_part_are_rejected(tmp_path: Path) -> None:
    write_folders(tmp_path / "imagenet-r", SUBSET, {}, ".jpg")

    with pytest.raises(InputError, match="its folders contain no image"):
        imagenet_r(tmp_path, "test")
    with pytest.raises(InputError, match="among test, got 'train'"):
        imagenet_r(tmp_path, "train")


# ObjectNet


GROUPS = {"alarm_clock": [409, 530], **{f"thing_{n}": [n] for n in range(112)}}


def write_objectnet(folder: Path, images: dict[str, int] | None = None) -> Path:
    """Write the four mappings in the published format; folders outside of the overlap have none."""
    root = folder / "objectnet-1.0"
    names = {name: name.replace("_", " ").capitalize() for name in [*GROUPS, "blender"]}
    write_folders(root / "images", names, images or {"alarm_clock": 1, "thing_3": 2}, ".png")
    (root / "mappings").mkdir()
    line_of = {column: (column * 7 + 5) % 1000 for column in range(1000)}
    lines = [""] * 1000
    for column, line in line_of.items():
        lines[line] = f"{LABELS[column]}, synonym {column}"
    overlap = {
        names[name]: "; ".join(lines[line_of[column]] for column in columns)
        for name, columns in GROUPS.items()
    }
    contents = {
        "folder_to_objectnet_label.json": json.dumps(names),
        "objectnet_to_imagenet_1k.json": json.dumps(overlap),
        "pytorch_to_imagenet_2012_id.json": json.dumps(line_of),
        "imagenet_to_label_2012_v2": "\n".join(lines) + "\n",
    }
    for name, content in contents.items():
        (root / "mappings" / name).write_text(content)
    return folder


def test_truth_of_objectnet_is_every_imagenet_class_of_the_object(tmp_path: Path) -> None:
    data = objectnet(write_objectnet(tmp_path), "test")

    assert len(data.labels) == 114
    assert [[data.labels[column] for column in each] for each in data.truth] == [
        ["analog clock", "digital clock"],
        [LABELS[3]],
        [LABELS[3]],
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


def test_damaged_image_of_objectnet_is_a_listed_failure(
    tmp_path: Path, tiny: zeroshot.Model
) -> None:
    data = objectnet(write_objectnet(tmp_path), "test")
    path = Path(data.images[1].name)
    path.write_bytes(path.read_bytes()[:40])
    head = tiny.head(list(data.labels), "{}")

    report = robustness.evaluate_among(tiny, head, data)

    assert [failure.source for failure in report.failures] == [str(path)]


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


# the recipe


def write_imagenet(folder: Path) -> Path:
    write_folders(folder / "val", WNIDS, {WNIDS[409]: 1, WNIDS[530]: 1, WNIDS[3]: 2}, ".JPEG")
    return folder


def test_imagenet_is_read_for_the_given_classes_only(tmp_path: Path) -> None:
    wanted = DataSet([], [], (LABELS[4], LABELS[3]))

    found = robustness.same_classes(write_imagenet(tmp_path), wanted)

    assert found.truth == [1, 1]
    assert [path.parent.name for path in found.images] == [WNIDS[3]] * 2
    with pytest.raises(InputError, match="expected images of the 1 classes, got other ones"):
        robustness.same_classes(tmp_path, DataSet([], [], (LABELS[5],)))


def test_images_of_imagenet_are_judged_by_the_groups_of_objectnet(tmp_path: Path) -> None:
    data = objectnet(write_objectnet(tmp_path), "test")

    base = robustness.same_classes(write_imagenet(tmp_path / "imagenet"), data)

    clocks = [data.labels.index("analog clock"), data.labels.index("digital clock")]
    three = [data.labels.index(LABELS[3])]
    assert base.truth == [three, three, clocks, clocks]


def test_answer_among_the_classes_of_an_object_is_right() -> None:
    classifier = axes_classifier("abc")
    embeddings = np.eye(3, dtype=np.float32)
    data = DataSet(embeddings, [[0, 1], [0, 1], [0, 1]], ("a", "b", "c"))

    report = robustness.evaluate_among(classifier.encoder, classifier.head, data)

    assert report.figures["top1"].value == pytest.approx(2 / 3)


def test_labels_that_take_no_part_are_left_out_of_the_answer() -> None:
    classifier = axes_classifier("abc")
    embeddings = np.array([[0.6, 0.0, 0.8]], np.float32)  # "c" is best, "a" second

    def top1(*labels: str) -> float:
        data = DataSet(embeddings, [labels.index("a")], labels)
        report = robustness.evaluate_among(classifier.encoder, classifier.head, data)
        return report.figures["top1"].value

    assert (top1("a", "b", "c"), top1("b", "a")) == (0.0, 1.0)


def test_difference_has_the_interval_of_newcombe() -> None:
    # Newcombe 1998, table II, row (a), method 10: 56/70 - 48/80 is 0.2 (0.0524 to 0.3339)
    first = Figure(56 / 70, *zeroshot.metrics.wilson_interval(56, 70))
    second = Figure(48 / 80, *zeroshot.metrics.wilson_interval(48, 80))

    found = robustness.difference(first, second)

    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


@pytest.mark.parametrize("name", ["imagenet-r", "objectnet"])
def test_recipe_prints_the_accuracy_that_on_imagenet_and_the_difference(
    name: str, tmp_path: Path, tiny_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folders(tmp_path / "imagenet-r", SUBSET, {SUBSET[0]: 3}, ".jpg")
    write_objectnet(tmp_path)
    imagenet = write_imagenet(tmp_path / "imagenet")
    options = ["--model", str(tiny_path), "--prompts", "{}", "--imagenet", str(imagenet)]

    robustness.main([name, str(tmp_path), *options])

    printed = capsys.readouterr().out
    images, labels, before = (3, 200, 2) if name == "imagenet-r" else (3, 114, 4)
    assert f"{name}: {images} images, {labels} labels" in printed
    assert f"same classes of ImageNet, {before} images" in printed
    assert "Difference in percentage points" in printed


def test_folder_of_another_data_set_says_where_to_get_objectnet(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no images\. Expected .*https://objectnet\.dev"):
        robustness.main(["objectnet", str(tmp_path)])


@pytest.mark.parametrize("name", ["imagenet-r", "imagenet-a", "imagenet-sketch", "imagenetv2"])
def test_folder_without_classes_says_what_is_expected(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=rf"not {name} as published: no .*Expected "):
        load(name, tmp_path, table=ROBUSTNESS)


def test_rows_of_robustness_have_the_labels_of_imagenet() -> None:
    assert {entry.prompts for entry in ROBUSTNESS.values()} == {"imagenet"}
    assert all(entry.url.startswith("https://") for entry in ROBUSTNESS.values())
