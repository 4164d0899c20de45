"""Accuracy on other images of ImageNet's classes, and its difference to ImageNet's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import zeroshot
from examples.paper import robustness
from examples.paper.datasets.base import DataSet
from examples.paper.datasets.imagenet_variants import objectnet
from tests.paper.published import (
    IMAGENET_LABELS,
    SUBSET,
    WNIDS,
    write_folders,
    write_objectnet,
)
from tests.support import axes_classifier
from zeroshot.errors import InputError
from zeroshot.evaluation.figures import Figure


def write_imagenet(folder: Path) -> Path:
    write_folders(folder / "val", WNIDS, {WNIDS[409]: 1, WNIDS[530]: 1, WNIDS[3]: 2}, ".JPEG")
    return folder


def test_imagenet_is_read_for_the_given_classes_only(tmp_path: Path) -> None:
    wanted = DataSet([], [], (IMAGENET_LABELS[4], IMAGENET_LABELS[3]))

    found = robustness.same_classes(write_imagenet(tmp_path), wanted)

    assert found.truth == [1, 1]
    assert [path.parent.name for path in found.images] == [WNIDS[3]] * 2
    with pytest.raises(InputError, match="expected images of the 1 classes, got other ones"):
        robustness.same_classes(tmp_path, DataSet([], [], (IMAGENET_LABELS[5],)))


def test_images_of_imagenet_are_judged_by_the_groups_of_objectnet(tmp_path: Path) -> None:
    data = objectnet(write_objectnet(tmp_path), "test")

    base = robustness.same_classes(write_imagenet(tmp_path / "imagenet"), data)

    clocks = [data.labels.index("analog clock"), data.labels.index("digital clock")]
    three = [data.labels.index(IMAGENET_LABELS[3])]
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


def test_damaged_image_of_objectnet_is_a_listed_failure(
    tmp_path: Path, tiny: zeroshot.Model
) -> None:
    data = objectnet(write_objectnet(tmp_path), "test")
    path = Path(data.images[1].name)
    path.write_bytes(path.read_bytes()[:40])
    head = tiny.head(list(data.labels), "{}")

    report = robustness.evaluate_among(tiny, head, data)

    assert [failure.source for failure in report.failures] == [str(path)]


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
