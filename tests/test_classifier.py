"""A classifier gives predictions in input order, and scikit-learn's methods agree."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import zeroshot
from tests.support import COLORS, MIXED, NAMES, FakeEncoder, flat, in_threads, photograph
from zeroshot import Classifier, Head, Prediction
from zeroshot.errors import HeadMismatch, InputError


def test_one_image_gives_one_prediction(colors: Classifier) -> None:
    found = colors(flat("green"))
    assert isinstance(found, Prediction)
    assert found.label == "green"
    assert found.probability == found.ranking[0][1] > 0.9
    assert found.source is None


def test_many_images_give_a_list_in_input_order(
    colors: Classifier, mixed: list[Image.Image]
) -> None:
    found = colors(mixed)
    assert [p.label for p in found] == MIXED
    assert [p.label for p in colors(iter(mixed))] == MIXED
    assert [p.label for p in colors(tuple(mixed))] == MIXED


def test_a_list_of_one_gives_a_list(colors: Classifier) -> None:
    assert [p.label for p in colors([flat("red")])] == ["red"]


def test_no_images_give_empty_results(colors: Classifier) -> None:
    assert colors([]) == []
    assert list(colors.stream([])) == []
    assert colors.predict([]).shape == (0,)
    assert colors.predict_proba([]).shape == (0, 3)
    assert colors.decision_function([]).shape == (0, 3)


def test_an_array_of_paths_is_many_images(colors: Classifier, tmp_path: Path) -> None:
    for color in COLORS:
        flat(color).save(tmp_path / f"{color}.png")
    column = np.array([str(tmp_path / f"{c}.png") for c in ("blue", "red")])
    assert [p.label for p in colors(column)] == ["blue", "red"]


def test_predictions_contain_the_source_of_the_image(colors: Classifier, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    flat("red").save(path)
    assert colors(path).source == str(path)
    assert [p.source for p in colors([str(path), flat("blue")])] == [str(path), None]


def test_a_batch_equals_single_calls(tiny: zeroshot.Model, photos: list[Path]) -> None:
    classifier = tiny.classifier(["cat", "dog", "car", "tree"])
    together = classifier(photos, top=4)
    for path, found in zip(photos, together, strict=True):
        alone = classifier(path, top=4)
        assert alone.source == found.source == str(path)
        assert alone.label == found.label
        wanted = dict(alone.ranking)
        assert dict(found.ranking) == pytest.approx(wanted, abs=1e-5)
    assert len({p.ranking for p in together}) > 1


def test_full_rankings_are_sorted_and_sum_to_one(colors: Classifier) -> None:
    ranking = colors(flat("blue"), top=3).ranking
    probabilities = [p for _, p in ranking]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1, abs=1e-6)
    assert {label for label, _ in ranking} == set(COLORS)


@pytest.mark.parametrize(("top", "count"), [(1, 1), (2, 2), (3, 3), (4, 3), (1_000, 3)])
def test_top_is_limited_by_the_number_of_labels(colors: Classifier, top: int, count: int) -> None:
    assert len(colors(flat("red"), top=top).ranking) == count


def test_shorter_rankings_have_the_same_probabilities(colors: Classifier) -> None:
    whole, short = colors(flat("red"), top=3), colors(flat("red"), top=1)
    assert short.ranking == whole.ranking[:1]


@pytest.mark.parametrize("top", [0, -1])
def test_top_below_one_is_rejected(colors: Classifier, top: int) -> None:
    with pytest.raises(InputError, match=f"top={top}"):
        colors(flat("red"), top=top)


def test_a_single_label_gives_a_warning(encoder: FakeEncoder) -> None:
    head = Head.build(encoder, ["red"], "{}")
    with pytest.warns(UserWarning, match=r"the only label is 'red'.*probability 1") as caught:
        classifier = Classifier(encoder, head)
    assert caught[0].filename == __file__
    assert classifier(flat("blue")).probability == 1


def test_two_labels_give_no_warning(encoder: FakeEncoder) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Classifier(encoder, Head.build(encoder, ["red", "blue"], "{}"))


def test_classes_are_the_labels_in_column_order(colors: Classifier) -> None:
    assert colors.classes_.tolist() == ["red", "green", "blue"]


def test_scikit_learn_methods_agree_with_each_other(
    colors: Classifier, mixed: list[Image.Image]
) -> None:
    logits = colors.decision_function(mixed)
    probabilities = colors.predict_proba(mixed)
    assert logits.shape == probabilities.shape == (77, 3)
    assert logits.dtype == probabilities.dtype == np.float32
    powers = np.exp(logits.astype(np.float64))
    np.testing.assert_allclose(probabilities, powers / powers.sum(1, keepdims=True), atol=1e-6)
    assert colors.predict(mixed).tolist() == MIXED
    assert colors.predict(mixed).tolist() == colors.classes_[probabilities.argmax(1)].tolist()
    for row, prediction in zip(probabilities, colors(mixed, top=3), strict=True):
        ranked = dict(prediction.ranking)
        assert [ranked[c] for c in colors.classes_] == pytest.approx(row.tolist(), abs=1e-6)


def test_logits_are_the_scaled_cosines_of_the_model(tiny: zeroshot.Model, photos: Any) -> None:
    classifier = tiny.classifier(["cat", "dog", "car"])
    wanted = tiny.logit_scale * tiny.similarity(tiny.encode_image(photos), classifier.head.weight)
    np.testing.assert_allclose(
        classifier.decision_function(photos), wanted.cpu().numpy(), atol=1e-4
    )


def test_scikit_learn_methods_treat_one_image_as_a_list_of_one(colors: Classifier) -> None:
    assert colors.predict(flat("red")).tolist() == ["red"]
    assert colors.predict_proba(flat("red")).shape == (1, 3)


def test_score_is_the_accuracy(colors: Classifier) -> None:
    images = [flat(c) for c in ("red", "green", "blue", "blue")]
    assert colors.score(images, ["red", "green", "blue", "red"]) == 0.75
    assert colors.score(images, np.array(["red", "green", "blue", "blue"])) == 1.0  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("truth", "says"),
    [
        (["red"], "2 images but 1 truths"),
        (["red", "pink"], "truth 'pink' is not among"),
        (["red", None], "truth None means none of the labels"),
        ([5, "red"], "truth 5 is not the index of a label; expected 0 to 2"),
    ],
)
def test_score_rejects_invalid_truth(colors: Classifier, truth: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        colors.score([flat("red"), flat("blue")], truth)


def test_a_head_of_another_model_is_rejected(encoder: FakeEncoder, tiny: zeroshot.Model) -> None:
    head = Head.build(encoder, ["red", "blue"])
    with pytest.raises(HeadMismatch, match=r"'fake'.*rebuild it"):
        Classifier(tiny, head)


def test_one_classifier_can_be_shared_by_threads(
    colors: Classifier, mixed: list[Image.Image]
) -> None:
    found = in_threads(lambda: [prediction.label for prediction in colors(mixed)])

    assert found == [MIXED] * len(found)


def test_the_repr_shows_the_number_of_labels(tiny: zeroshot.Model) -> None:
    shown = repr(tiny.classifier(["a", "b"]))
    assert shown == f"<Classifier of 2 labels on {tiny!r}>"


def test_a_saved_head_gives_the_same_predictions(
    colors: Classifier, encoder: FakeEncoder, mixed: list[Image.Image], tmp_path: Path
) -> None:
    colors.head.save(tmp_path / "h.safetensors")
    again = Classifier(encoder, Head.load(tmp_path / "h.safetensors"))
    assert again(mixed) == colors(mixed)


def test_a_bias_changes_logits_but_not_softmax_probabilities(encoder: FakeEncoder) -> None:
    from dataclasses import replace

    head = Head.build(encoder, NAMES, "{}")
    plain, biased = Classifier(encoder, head), Classifier(encoder, replace(head, logit_bias=-3.0))
    image = [flat("red")]
    np.testing.assert_allclose(
        biased.decision_function(image), plain.decision_function(image) - 3, atol=1e-5
    )
    np.testing.assert_allclose(biased.predict_proba(image), plain.predict_proba(image), atol=1e-6)
    assert torch.is_tensor(head.weight)


def test_labels_instead_of_a_head_suggest_model_classifier(encoder: FakeEncoder) -> None:
    with pytest.raises(InputError, match=r"model\.classifier\(labels\)"):
        Classifier(encoder, ["red", "green"])  # type: ignore[arg-type]


@pytest.mark.parametrize("top", ["all", 1.5, True, 0])
def test_an_invalid_top_is_rejected(colors: Classifier, top: Any) -> None:
    with pytest.raises(InputError, match=r"top=.* an integer of at least 1"):
        colors(photograph(), top=top)


def test_the_warning_of_a_single_label_points_at_the_callers_line(tiny: Any) -> None:
    with pytest.warns(UserWarning, match="the only label is 'cat'") as caught:
        tiny.classifier(["cat"])

    assert caught[0].filename == __file__


def test_a_name_instead_of_a_model_is_rejected() -> None:
    head = zeroshot.load("mini").head(["cat", "dog"])

    with pytest.raises(InputError, match=r"got str 'mini' .*pass a model, as zeroshot\.load\(\)"):
        zeroshot.Classifier("mini", head)  # type: ignore[arg-type]
