from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import zeroshot
from tests.support import FakeEncoder, encoded, photograph
from zeroshot import Classifier, Failure, Head, Prediction
from zeroshot.errors import HeadMismatch, ImageError, InputError

COLOURS = {"red": (250, 5, 5), "green": (5, 250, 5), "blue": (5, 5, 250)}
NAMES = {"red": "rrrr", "green": "gggg", "blue": "bbbb"}  # what the fake encoder sees colours in
Alive = Callable[[], list[str]]


def flat(colour: str, size: int = 8) -> Image.Image:
    return Image.new("RGB", (size, size), COLOURS[colour])


@pytest.fixture
def colours(encoder: FakeEncoder) -> Classifier:
    return Classifier(encoder, Head.build(encoder, NAMES, "{}"))


@pytest.fixture
def mixed() -> list[Image.Image]:
    return [flat(c) for c in ("blue", "red", "red", "green", "blue", "green", "red") * 11]


MIXED = ["blue", "red", "red", "green", "blue", "green", "red"] * 11


# one and many


def test_one_image_gives_one_prediction(colours: Classifier) -> None:
    found = colours(flat("green"))
    assert isinstance(found, Prediction)
    assert found.label == "green"
    assert found.probability == found.ranking[0][1] > 0.9
    assert found.source is None


def test_many_images_give_a_list_in_their_order(
    colours: Classifier, mixed: list[Image.Image]
) -> None:
    found = colours(mixed)
    assert [p.label for p in found] == MIXED
    assert [p.label for p in colours(iter(mixed))] == MIXED
    assert [p.label for p in colours(tuple(mixed))] == MIXED


def test_a_list_of_one_gives_a_list(colours: Classifier) -> None:
    assert [p.label for p in colours([flat("red")])] == ["red"]


def test_no_images_give_nothing(colours: Classifier) -> None:
    assert colours([]) == []
    assert list(colours.stream([])) == []
    assert colours.predict([]).shape == (0,)
    assert colours.predict_proba([]).shape == (0, 3)
    assert colours.decision_function([]).shape == (0, 3)


def test_a_column_of_paths_is_many_images(colours: Classifier, tmp_path: Path) -> None:
    for colour in COLOURS:
        flat(colour).save(tmp_path / f"{colour}.png")
    column = np.array([str(tmp_path / f"{c}.png") for c in ("blue", "red")])
    assert [p.label for p in colours(column)] == ["blue", "red"]


def test_predictions_say_where_the_image_came_from(colours: Classifier, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    flat("red").save(path)
    assert colours(path).source == str(path)
    assert [p.source for p in colours([str(path), flat("blue")])] == [str(path), None]


def test_batch_equals_one_by_one(tiny: zeroshot.Model, photos: list[Path]) -> None:
    classifier = tiny.classifier(["cat", "dog", "car", "tree"])
    together = classifier(photos, top=4)
    for path, found in zip(photos, together, strict=True):
        alone = classifier(path, top=4)
        assert alone.source == found.source == str(path)
        assert alone.label == found.label
        wanted = dict(alone.ranking)
        assert dict(found.ranking) == pytest.approx(wanted, abs=1e-5)
    assert len({p.ranking for p in together}) > 1


@pytest.mark.parametrize("size", [1, 2, 5, 77, 500])
@pytest.mark.parametrize("workers", [0, 1, 3])
def test_neither_batch_size_nor_threads_change_the_answers(
    colours: Classifier, mixed: list[Image.Image], size: int, workers: int
) -> None:
    found = list(colours.stream(mixed, batch_size=size, workers=workers, top=3))
    wanted = colours.predict_proba(mixed)
    assert [p.label for p in found if isinstance(p, Prediction)] == MIXED
    for prediction, row in zip(found, wanted, strict=True):
        assert isinstance(prediction, Prediction)
        ranked = dict(prediction.ranking)
        assert [ranked[c] for c in COLOURS] == pytest.approx(row.tolist(), abs=1e-5)


# rankings


def test_rankings_fall_and_sum_to_one_when_whole(colours: Classifier) -> None:
    ranking = colours(flat("blue"), top=3).ranking
    probabilities = [p for _, p in ranking]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1, abs=1e-6)
    assert {label for label, _ in ranking} == set(COLOURS)


@pytest.mark.parametrize(("top", "count"), [(1, 1), (2, 2), (3, 3), (4, 3), (1_000, 3)])
def test_top_labels_are_kept_as_many_as_there_are(
    colours: Classifier, top: int, count: int
) -> None:
    assert len(colours(flat("red"), top=top).ranking) == count


def test_shorter_rankings_have_the_same_probabilities(colours: Classifier) -> None:
    whole, short = colours(flat("red"), top=3), colours(flat("red"), top=1)
    assert short.ranking == whole.ranking[:1]


@pytest.mark.parametrize("top", [0, -1])
def test_top_below_one_is_refused(colours: Classifier, top: int) -> None:
    with pytest.raises(InputError, match=f"top={top}"):
        colours(flat("red"), top=top)


def test_a_single_label_warns_that_it_means_nothing(encoder: FakeEncoder) -> None:
    head = Head.build(encoder, ["red"], "{}")
    with pytest.warns(UserWarning, match=r"the only label is 'red'.*probability 1") as caught:
        classifier = Classifier(encoder, head)
    assert caught[0].filename == __file__
    assert classifier(flat("blue")).probability == 1


def test_two_labels_do_not_warn(encoder: FakeEncoder) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Classifier(encoder, Head.build(encoder, ["red", "blue"], "{}"))


# scikit-learn's verbs


def test_classes_are_the_labels_in_column_order(colours: Classifier) -> None:
    assert colours.classes_.tolist() == ["red", "green", "blue"]


def test_the_verbs_agree_with_one_another(colours: Classifier, mixed: list[Image.Image]) -> None:
    logits = colours.decision_function(mixed)
    probabilities = colours.predict_proba(mixed)
    assert logits.shape == probabilities.shape == (77, 3)
    assert logits.dtype == probabilities.dtype == np.float32
    powers = np.exp(logits.astype(np.float64))
    np.testing.assert_allclose(probabilities, powers / powers.sum(1, keepdims=True), atol=1e-6)
    assert colours.predict(mixed).tolist() == MIXED
    assert colours.predict(mixed).tolist() == colours.classes_[probabilities.argmax(1)].tolist()
    for row, prediction in zip(probabilities, colours(mixed, top=3), strict=True):
        ranked = dict(prediction.ranking)
        assert [ranked[c] for c in colours.classes_] == pytest.approx(row.tolist(), abs=1e-6)


def test_logits_are_the_scaled_cosines_of_the_model(tiny: zeroshot.Model, photos: Any) -> None:
    classifier = tiny.classifier(["cat", "dog", "car"])
    wanted = tiny.logit_scale * tiny.similarity(tiny.encode_image(photos), classifier.head.weight)
    np.testing.assert_allclose(classifier.decision_function(photos), wanted.numpy(), atol=1e-4)


def test_the_verbs_take_one_image_as_a_list_of_one(colours: Classifier) -> None:
    assert colours.predict(flat("red")).tolist() == ["red"]
    assert colours.predict_proba(flat("red")).shape == (1, 3)


def test_score_is_the_share_of_right_answers(colours: Classifier) -> None:
    images = [flat(c) for c in ("red", "green", "blue", "blue")]
    assert colours.score(images, ["red", "green", "blue", "red"]) == 0.75
    assert colours.score(images, np.array(["red", "green", "blue", "blue"])) == 1.0  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("truth", "says"),
    [
        (["red"], "2 images but 1 truths"),
        (["red", "pink"], "truth 'pink' is not among"),
        (["red", None], "truth None is not among"),
        ([None, 5], "is not among"),
    ],
)
def test_score_refuses_truth_that_does_not_fit(colours: Classifier, truth: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        colours.score([flat("red"), flat("blue")], truth)


# errors


def test_a_head_of_another_model_is_refused(encoder: FakeEncoder, tiny: zeroshot.Model) -> None:
    head = Head.build(encoder, ["red", "blue"])
    with pytest.raises(HeadMismatch, match=r"'fake'.*rebuild it"):
        Classifier(tiny, head)


def test_the_first_bad_image_raises_in_its_turn(
    colours: Classifier, no_decoding_threads: Alive
) -> None:
    with pytest.raises(ImageError) as caught:
        colours([flat("red"), "missing.png", b"", flat("blue")])
    assert caught.value.source == "missing.png"
    assert no_decoding_threads() == []


def test_bad_images_become_failures_in_their_places(
    colours: Classifier, tmp_path: Path, no_decoding_threads: Alive
) -> None:
    cut = tmp_path / "cut.png"
    cut.write_bytes(encoded(Image.fromarray(photograph()), "PNG")[:900])
    images = [flat("red"), "missing.png", flat("green"), cut, b"junk", flat("blue"), 5, None]
    for size in (1, 3, 100):
        found = list(colours.stream(images, on_error="yield", batch_size=size))  # type: ignore[arg-type]
        kinds = [type(f) for f in found]
        assert (
            kinds == [Prediction, Failure, Prediction, Failure, Failure, Prediction] + [Failure] * 2
        )
        assert [f.label for f in found if isinstance(f, Prediction)] == ["red", "green", "blue"]
        sources = [f.source for f in found if isinstance(f, Failure)]
        assert sources == ["missing.png", str(cut), None, None, None]
        assert all(isinstance(f.error, ImageError) for f in found if isinstance(f, Failure))
    assert no_decoding_threads() == []


def test_nothing_but_bad_images_is_nothing_but_failures(colours: Classifier) -> None:
    found = list(colours.stream([b""] * 70, on_error="yield"))
    assert [type(f) for f in found] == [Failure] * 70


def test_errors_that_are_no_image_errors_are_raised_also_when_yielding(
    encoder: FakeEncoder,
) -> None:
    class Broken(FakeEncoder):
        def prepare(self, image: Any) -> Any:
            raise ZeroDivisionError

    classifier = Classifier(Broken(), Head.build(encoder, ["red", "blue"]))
    with pytest.raises(ZeroDivisionError):
        list(classifier.stream([flat("red")], on_error="yield"))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"top": 0}, "top=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"batch_size": -3}, "batch_size=-3"),
        ({"on_error": "ignore"}, "on_error='ignore'"),
    ],
)
def test_wrong_options_of_stream_are_told_at_once(
    colours: Classifier, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        colours.stream([], **options)


@pytest.mark.parametrize("images", ["cat.jpg", b"...", flat("red")], ids=["str", "bytes", "PIL"])
def test_stream_refuses_a_single_image(colours: Classifier, images: Any) -> None:
    with pytest.raises(InputError, match="stream expects an iterable of images"):
        colours.stream(images)


def test_what_is_no_collection_is_refused(colours: Classifier) -> None:
    for call in (colours, colours.predict, colours.stream):
        with pytest.raises(ImageError, match="expected an image or an iterable of images"):
            call(5)  # type: ignore[operator]


# streaming


def test_stopping_early_leaves_no_threads(
    colours: Classifier, mixed: list[Image.Image], no_decoding_threads: Alive
) -> None:
    stream = colours.stream(mixed * 20, workers=3)
    assert next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert no_decoding_threads() == []


def test_breaking_out_of_a_loop_leaves_no_threads(
    colours: Classifier, mixed: list[Image.Image], no_decoding_threads: Alive
) -> None:
    for count, _ in enumerate(colours.stream(mixed * 20, workers=3)):
        if count == 40:
            break
    assert no_decoding_threads() == []


def test_a_generator_is_read_a_bounded_way_ahead(colours: Classifier) -> None:
    taken = 0

    def images() -> Iterator[Image.Image]:
        nonlocal taken
        for _ in range(400):
            taken += 1
            yield flat("red", 2)

    size = 4
    for done, _ in enumerate(colours.stream(images(), batch_size=size, workers=2), 1):
        assert taken <= done + 3 * size
    assert taken == 400


def test_an_endless_generator_can_be_streamed(
    colours: Classifier, no_decoding_threads: Alive
) -> None:
    def images() -> Iterator[Image.Image]:
        while True:
            yield flat("green", 2)

    stream = colours.stream(images(), batch_size=2)
    assert [next(stream).label for _ in range(9)] == ["green"] * 9  # type: ignore[union-attr]
    stream.close()  # type: ignore[attr-defined]


def test_results_before_a_generators_error_are_not_lost(colours: Classifier) -> None:
    def images() -> Iterator[Image.Image]:
        for _ in range(10):
            yield flat("red", 2)
        raise RuntimeError("the camera has gone")

    stream = colours.stream(images(), batch_size=5)
    assert len([next(stream) for _ in range(10)]) == 10
    with pytest.raises(RuntimeError, match="camera"):
        next(stream)


def test_decoding_runs_on_several_threads(encoder: FakeEncoder) -> None:
    together = threading.Barrier(2, timeout=10)

    class Meeting(FakeEncoder):
        def prepare(self, image: Any) -> Any:
            together.wait()
            return super().prepare(image)

    classifier = Classifier(Meeting(), Head.build(encoder, NAMES, "{}"))
    found = list(classifier.stream([flat("red")] * 4, workers=2))
    assert len(found) == 4


def test_one_classifier_serves_many_threads(colours: Classifier, mixed: list[Image.Image]) -> None:
    wrong: list[object] = []

    def work() -> None:
        try:
            if [p.label for p in colours(mixed)] != MIXED:
                wrong.append("labels")
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_repr_counts_the_labels(tiny: zeroshot.Model) -> None:
    shown = repr(tiny.classifier(["a", "b"]))
    assert shown == "<Classifier of 2 labels on <Model tiny.safetensors 16-d on cpu, float32>>"


def test_a_saved_head_classifies_as_before(
    colours: Classifier, encoder: FakeEncoder, mixed: list[Image.Image], tmp_path: Path
) -> None:
    colours.head.save(tmp_path / "h.safetensors")
    again = Classifier(encoder, Head.load(tmp_path / "h.safetensors"))
    assert again(mixed) == colours(mixed)


def test_a_bias_moves_logits_but_not_probabilities(encoder: FakeEncoder) -> None:
    from dataclasses import replace

    head = Head.build(encoder, NAMES, "{}")
    plain, biased = Classifier(encoder, head), Classifier(encoder, replace(head, logit_bias=-3.0))
    image = [flat("red")]
    np.testing.assert_allclose(
        biased.decision_function(image), plain.decision_function(image) - 3, atol=1e-5
    )
    np.testing.assert_allclose(biased.predict_proba(image), plain.predict_proba(image), atol=1e-6)
    assert torch.is_tensor(head.weight)


def test_labels_in_place_of_a_head_say_what_makes_a_classifier(encoder: FakeEncoder) -> None:
    with pytest.raises(InputError, match=r"model\.classifier\(labels\)"):
        Classifier(encoder, ["red", "green"])  # type: ignore[arg-type]


@pytest.mark.parametrize("top", ["all", 1.5, True, 0])
def test_a_number_of_labels_that_is_none_is_refused(colours: Classifier, top: Any) -> None:
    with pytest.raises(InputError, match=r"top=.* an integer of at least 1"):
        colours(photograph(), top=top)


def test_the_warning_of_a_single_label_points_at_the_callers_line(tiny: Any) -> None:
    with pytest.warns(UserWarning, match="the only label is 'cat'") as caught:
        tiny.classifier(["cat"])

    assert caught[0].filename == __file__
