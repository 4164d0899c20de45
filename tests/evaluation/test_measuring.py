"""`zeroshot.evaluate` measures images or embeddings, and counts what it cannot read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import zeroshot
from tests.support import axes_classifier, one_hot
from tests.test_answering import CALIBRATION
from zeroshot.errors import ImageError, InputError

COLORS = ["red", "green", "blue"]
BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "evaluate.py"


def flat(color: str) -> Image.Image:
    return Image.new("RGB", (8, 8), color)


@pytest.fixture
def colors() -> zeroshot.Classifier:
    return axes_classifier(["red", "green", "blue"])


@pytest.fixture(scope="module")
def mini() -> zeroshot.Model:
    return zeroshot.load("mini", device="cpu", dtype="float32")


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{color}.png" for color in ("red", "lime", "blue")]
    for path in paths:
        flat(path.stem).save(path)
    return paths


def test_images_are_measured_in_their_order(colors: zeroshot.Classifier, files: list[Path]) -> None:
    report = zeroshot.evaluate(colors, files, COLORS, draws=9)

    assert report.figures["top1"].value == 1.0
    assert report.sources == tuple(map(str, files))
    swapped = zeroshot.evaluate(colors, files, ["green", "red", "blue"], draws=9)
    assert swapped.figures["top1"].value == pytest.approx(1 / 3)
    assert swapped.image(0) == files[0]


def test_the_order_of_labels_changes_no_figure(tiny: zeroshot.Model, photos: list[Path]) -> None:
    labels = ["cat", "dog", "car"]
    truth = ["cat", "dog", "car", "cat", "dog", "car", "car"]

    first = zeroshot.evaluate(tiny.classifier(labels), photos, truth, draws=50)
    other = zeroshot.evaluate(tiny.classifier(labels[::-1]), photos, truth, draws=50)

    for name, figure in first.figures.items():
        assert figure.value == pytest.approx(other.figures[name].value, abs=1e-6)


def test_the_accuracy_is_that_of_score(tiny: zeroshot.Model, photos: list[Path]) -> None:
    classifier = tiny.classifier(["cat", "dog", "car"])
    truth = ["cat", "dog", "car", "cat", "dog", "car", "car"]

    report = zeroshot.evaluate(classifier, photos, truth, draws=9)

    assert report.figures["top1"].value == classifier.score(photos, truth)
    embeddings = tiny.encode_image(photos)
    for given in (embeddings, embeddings.cpu().numpy()):
        again = zeroshot.evaluate(classifier, given, truth, draws=9)
        assert again.figures["nll"].value == pytest.approx(report.figures["nll"].value, abs=1e-4)


def test_images_that_cannot_be_read_are_listed(
    colors: zeroshot.Classifier, files: list[Path]
) -> None:
    bad = files[0].with_name("bad.jpg")
    bad.write_bytes(b"no image")

    report = zeroshot.evaluate(colors, [files[0], bad, files[2]], ["red", "green", "blue"])

    assert report.n == 2
    assert [failure.source for failure in report.failures] == [str(bad)]
    assert report.figures["top1"].value == 1.0
    assert "1 of 3 images could not be read; they are not in the figures" in str(report)
    assert report.image(1) == files[2]


def test_no_readable_image_is_an_image_error(colors: zeroshot.Classifier) -> None:
    with pytest.raises(ImageError, match="none of 1 images could be read"):
        zeroshot.evaluate(colors, ["missing.jpg"], ["red"])


def test_an_iterator_of_images_is_read_once(colors: zeroshot.Classifier, files: list[Path]) -> None:
    report = zeroshot.evaluate(colors, iter(files), COLORS, draws=9)

    assert report.n == 3
    assert report.image(0) == str(files[0])


@pytest.mark.parametrize("wrap", [list, iter])
def test_lengths_that_differ_are_rejected(
    wrap: Any, colors: zeroshot.Classifier, files: list[Path]
) -> None:
    with pytest.raises(InputError, match="got 3 images but 2 truths"):
        zeroshot.evaluate(colors, wrap(files), ["red", "green"])


def test_no_images_are_rejected(colors: zeroshot.Classifier) -> None:
    with pytest.raises(InputError, match="at least one image, got none"):
        zeroshot.evaluate(colors, [], [])
    with pytest.raises(InputError, match="got none; pass at least one row"):
        zeroshot.evaluate(colors, np.zeros((0, 3), np.float32), [])


@pytest.mark.parametrize("wrap", [set, dict.fromkeys, frozenset])
def test_collections_of_another_order_are_rejected(
    wrap: Any, colors: zeroshot.Classifier, files: list[Path]
) -> None:
    with pytest.raises(InputError, match="expected truth as a list, one entry per image"):
        zeroshot.evaluate(colors, files, wrap(COLORS))
    with pytest.raises(InputError, match="expected images as a list, one entry per image"):
        zeroshot.evaluate(colors, wrap(files), COLORS)


def test_one_image_and_no_classifier_are_rejected(colors: zeroshot.Classifier) -> None:
    with pytest.raises(InputError, match=r"got one image 'a.jpg'; pass \[image\]"):
        zeroshot.evaluate(colors, "a.jpg", ["red"])
    with pytest.raises(InputError, match="expected a Classifier, got str 'mini'"):
        zeroshot.evaluate("mini", ["a.jpg"], ["red"])  # type: ignore[arg-type]
    with pytest.raises(InputError, match="draws=0 must be an integer of at least 1"):
        zeroshot.evaluate(colors, ["a.jpg"], ["red"], draws=0)


def test_a_wrong_truth_is_found_before_images_are_read(colors: zeroshot.Classifier) -> None:
    with pytest.raises(InputError, match="did you mean 'green'"):
        zeroshot.evaluate(colors, ["missing.jpg"], ["gren"])


def test_repeated_images_are_noted(colors: zeroshot.Classifier, files: list[Path]) -> None:
    report = zeroshot.evaluate(colors, [files[0], files[0], files[1]], ["red", "blue", "green"])

    assert report.n == 3
    assert any("1 of the images repeat earlier ones" in note for note in report.notes)


@pytest.mark.parametrize(("answers", "top1"), [([0, 1, 2], 1.0), ([1, 2, 0], 0.0)])
def test_all_right_and_all_wrong_have_wilson_intervals(
    answers: list[int], top1: float, colors: zeroshot.Classifier
) -> None:
    report = zeroshot.evaluate(colors, one_hot(answers, 3), [0, 1, 2])

    assert report.figures["top1"].value == top1
    low, high = report.figures["top1"].low, report.figures["top1"].high
    assert low is not None
    assert high is not None
    assert high - low > 0.5
    assert str(report)
    assert report._repr_html_()


def test_images_without_labels_count_only_as_negatives(colors: zeroshot.Classifier) -> None:
    report = zeroshot.evaluate(colors, one_hot([0, 0, 1], 3), [["red"], [], ["green", "blue"]])

    # red: images 0 and 1 have the same score, of which one is right
    assert report.figures["map"].value == pytest.approx((1 / 2 + 1 + 1 / 3) / 3)
    assert report.figures["top1"].value == 1.0
    with pytest.raises(InputError, match="a label for at least one image, got 2 empty lists"):
        zeroshot.evaluate(colors, one_hot([0, 0], 3), [[], []])


def test_a_note_says_what_uncalibrated_scores_are(colors: zeroshot.Classifier) -> None:
    report = zeroshot.evaluate(colors, one_hot([0], 3), [0])
    fitted = axes_classifier(COLORS, calibration=CALIBRATION)
    sigmoid = axes_classifier(COLORS, scoring="sigmoid")

    def notes(classifier: zeroshot.Classifier) -> str:
        return " ".join(zeroshot.evaluate(classifier, one_hot([0], 3), [0]).notes)

    assert "a share of the score among the labels offered" in " ".join(report.notes)
    assert "calibrated" not in notes(fitted)
    assert "do not sum to 1" in notes(sigmoid)


def test_mini_is_not_presented_as_clip() -> None:
    classifier = zeroshot.load("mini").classifier(["cat", "dog"])

    report = zeroshot.evaluate(classifier, [zeroshot.sample_image()], ["cat"], draws=9)

    assert report.model == "mini"
    assert report.published is None
    assert "mini is a demo model; its figures say nothing about CLIP." in report.notes


def test_embeddings_on_another_dtype_give_the_same_figures(colors: zeroshot.Classifier) -> None:
    rows = torch.eye(3)

    whole = zeroshot.evaluate(colors, rows, [0, 1, 1])
    half = zeroshot.evaluate(colors, rows.half(), [0, 1, 1])

    assert whole.to_dict() == half.to_dict()


def test_the_benchmark_prints_its_time() -> None:
    command = [sys.executable, str(BENCHMARK), "--images", "300", "--labels", "20"]

    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert '"seconds": ' in done.stdout


def test_none_of_these_is_measured_as_users_see_it(mini: zeroshot.Model) -> None:
    photos = Path(__file__).parents[2] / "examples" / "photos"
    images = [photos / name for name in ("cat.jpg", "rocket.jpg", "temple.jpg", "bridge.jpg")]
    classifier = mini.classifier(["cat", "rocket"], none_of_these=True)

    report = zeroshot.evaluate(classifier, images, ["cat", "rocket", None, "none of these"])

    assert report.labels == ("cat", "rocket", "none of these")
    assert report.confusion().tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 2]]
    shares = ("top1", "answered", "right_among_answers", "known_answered", "unknown_turned_away")
    assert [report.figures[name].value for name in shares] == [0.75, 0.25, 1.0, 0.5, 1.0]
    assert classifier.predict(images).tolist() == ["cat"] + 3 * ["none of these"]
    assert report.can_abstain
    words = classifier.head.background
    assert words is not None
    assert any(f"among the labels and {len(words.words):,} other" in n for n in report.notes)
    text = str(report)
    assert text.startswith("4 images, 2 labels or none of these, mini")
    assert "Turned away among images that show none 100.0 % (" in text
    assert "none of these" in report._repr_html_()
    with pytest.raises(InputError, match="got lists of labels; make the classifier with scores"):
        zeroshot.evaluate(classifier, images[:1], [["cat"]])


def test_a_threshold_without_words_is_measured_on_images_of_none_of_the_labels(
    colors: zeroshot.Classifier,
) -> None:
    rows = np.array([[1, 0, 0], [0.6, 0.64, 0.48], [0.5, 0.5, 0.7071]], np.float32)
    careful = colors.answering(below=0.8)

    report = zeroshot.evaluate(careful, rows, ["red", None, "none of these"])

    assert report.labels == ("red", "green", "blue", "no answer")
    assert report.confusion().tolist() == [[1, 0, 0, 0], [0] * 4, [0] * 4, [0, 0, 0, 2]]
    assert report.figures["unknown_turned_away"].value == 1.0
    assert str(report).startswith("3 images, 3 labels or no answer, ")
    assert not {"brier", "nll", "top5"} & set(report.figures)  # no answer has no probability
    assert {"brier", "nll"} < set(zeroshot.evaluate(careful, rows, [0, 1, 2]).figures)


def test_a_label_that_reads_none_of_these_is_a_label() -> None:
    classifier = axes_classifier(["a", "none of these"])

    report = zeroshot.evaluate(classifier, one_hot([0, 1], 2), ["a", "none of these"])

    assert str(report).startswith("2 images, 2 labels, ")
    assert not report.can_abstain


def test_a_threshold_is_not_measured_on_lists_of_labels(colors: zeroshot.Classifier) -> None:
    with pytest.raises(InputError, match=r"without answering\(...\) for lists of labels, got ans"):
        zeroshot.evaluate(colors.answering(below=0.5), one_hot([0], 3), [["red"]])


def test_independent_scores_are_measured_on_windows(mini: zeroshot.Model) -> None:
    photos = Path(__file__).parents[2] / "examples" / "photos"
    left, right = (Image.open(photos / n).resize((224, 224)) for n in ("cat.jpg", "coffee.jpg"))
    both = Image.new("RGB", (448, 224))
    both.paste(left, (0, 0))
    both.paste(right, (224, 0))
    tags = mini.classifier(["cat", "boat", "coffee", "bridge"], scores="independent")

    report = zeroshot.evaluate(tags, [both, left], [["cat", "coffee"], ["cat"]], draws=9)

    scores, truth = tags.predict_proba([both, left]), np.array([[1, 0, 1, 0], [1, 0, 0, 0]])
    used = truth.any(axis=0)
    expected = zeroshot.metrics.mean_average_precision(scores[:, used], truth[:, used])
    assert report.figures["map"].value == pytest.approx(expected)
    rows = mini.encode_image([both, left])
    alone = tags.head.probabilities(tags.head.logits(rows)).numpy()
    assert not np.allclose(scores[0], alone[0], atol=0.01)


def test_a_kept_temperature_is_named_in_the_notes() -> None:
    kept = axes_classifier(["a", "b"], inverse_temperature=1.5)

    notes = zeroshot.evaluate(kept, one_hot([0, 1], 2), ["a", "b"]).notes

    assert "The scores have the temperature of a calibration for other labels." in notes
