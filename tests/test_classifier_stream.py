"""`Classifier.stream` keeps order, yields failures in place and leaves no threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.support import COLORS, MIXED, NAMES, FakeEncoder, encoded, flat, photograph
from zeroshot import Classifier, Failure, Head, Prediction
from zeroshot.errors import ImageError, InputError

Alive = Callable[[], list[str]]


@pytest.mark.parametrize("size", [1, 2, 5, 77, 500])
@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batch_size_and_workers_do_not_change_predictions(
    colors: Classifier, mixed: list[Image.Image], size: int, workers: int
) -> None:
    found = list(colors.stream(mixed, batch_size=size, workers=workers, top=3))
    wanted = colors.predict_proba(mixed)
    assert [p.label for p in found if isinstance(p, Prediction)] == MIXED
    for prediction, row in zip(found, wanted, strict=True):
        assert isinstance(prediction, Prediction)
        ranked = dict(prediction.ranking)
        assert [ranked[c] for c in COLORS] == pytest.approx(row.tolist(), abs=1e-5)


def test_the_first_unreadable_image_raises(colors: Classifier, no_decoding_threads: Alive) -> None:
    with pytest.raises(ImageError) as caught:
        colors([flat("red"), "missing.png", b"", flat("blue")])
    assert caught.value.source == "missing.png"
    assert no_decoding_threads() == []


def test_unreadable_images_become_failures_in_place(
    colors: Classifier, tmp_path: Path, no_decoding_threads: Alive
) -> None:
    cut = tmp_path / "cut.png"
    cut.write_bytes(encoded(Image.fromarray(photograph()), "PNG")[:900])
    images = [flat("red"), "missing.png", flat("green"), cut, b"junk", flat("blue"), 5, None]
    for size in (1, 3, 100):
        found = list(colors.stream(images, on_error="yield", batch_size=size))  # type: ignore[arg-type]
        kinds = [type(f) for f in found]
        assert (
            kinds == [Prediction, Failure, Prediction, Failure, Failure, Prediction] + [Failure] * 2
        )
        assert [f.label for f in found if isinstance(f, Prediction)] == ["red", "green", "blue"]
        sources = [f.source for f in found if isinstance(f, Failure)]
        assert sources == ["missing.png", str(cut), None, None, None]
        assert all(isinstance(f.error, ImageError) for f in found if isinstance(f, Failure))
    assert no_decoding_threads() == []


def test_only_unreadable_images_give_only_failures(colors: Classifier) -> None:
    found = list(colors.stream([b""] * 70, on_error="yield"))
    assert [type(f) for f in found] == [Failure] * 70


def test_other_errors_are_raised_with_on_error_yield(
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
def test_invalid_options_of_stream_raise_before_iteration(
    colors: Classifier, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        colors.stream([], **options)


@pytest.mark.parametrize("images", ["cat.jpg", b"...", flat("red")], ids=["str", "bytes", "PIL"])
def test_stream_rejects_a_single_image(colors: Classifier, images: Any) -> None:
    with pytest.raises(InputError, match="expected an iterable of images, got one image"):
        colors.stream(images)


def test_a_value_that_is_not_iterable_is_rejected(colors: Classifier) -> None:
    for call in (colors, colors.predict, colors.stream):
        with pytest.raises(ImageError, match="expected an image or an iterable of images"):
            call(5)  # type: ignore[operator]


def test_stopping_early_leaves_no_threads(
    colors: Classifier, mixed: list[Image.Image], no_decoding_threads: Alive
) -> None:
    stream = colors.stream(mixed * 20, workers=3)
    assert next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert no_decoding_threads() == []


def test_breaking_out_of_a_loop_leaves_no_threads(
    colors: Classifier, mixed: list[Image.Image], no_decoding_threads: Alive
) -> None:
    for count, _ in enumerate(colors.stream(mixed * 20, workers=3)):
        if count == 40:
            break
    assert no_decoding_threads() == []


def test_a_generator_is_read_ahead_by_a_bounded_number(colors: Classifier) -> None:
    taken = 0

    def images() -> Iterator[Image.Image]:
        nonlocal taken
        for _ in range(400):
            taken += 1
            yield flat("red", 2)

    size = 4
    for done, _ in enumerate(colors.stream(images(), batch_size=size, workers=2), 1):
        assert taken <= done + 3 * size
    assert taken == 400


def test_an_endless_generator_can_be_streamed(
    colors: Classifier, no_decoding_threads: Alive
) -> None:
    def images() -> Iterator[Image.Image]:
        while True:
            yield flat("green", 2)

    stream = colors.stream(images(), batch_size=2)
    assert [next(stream).label for _ in range(9)] == ["green"] * 9  # type: ignore[union-attr]
    stream.close()  # type: ignore[attr-defined]


def test_results_before_an_error_of_the_generator_are_yielded(colors: Classifier) -> None:
    def images() -> Iterator[Image.Image]:
        for _ in range(10):
            yield flat("red", 2)
        raise RuntimeError("the camera has gone")

    stream = colors.stream(images(), batch_size=5)
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
