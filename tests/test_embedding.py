"""Images are embedded in order, in batches, with failures in place and bounded memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import FakeEncoder, photograph
from zeroshot import Sample, lookahead
from zeroshot.embedding import Embedded, check_batch_size, check_length, check_many, embed
from zeroshot.errors import ImageError, ImageNotFound, InputError
from zeroshot.predictions import Failure

Alive = Callable[[], list[str]]
SIZES: list[Any] = [None, 1, 3, 100]


def color(level: int) -> np.ndarray[Any, Any]:
    """Make an image whose embedding depends on `level` (0..255)."""
    return np.full((4, 4, 3), (level, 255 - level, 40), np.uint8)


def expected(levels: list[int]) -> torch.Tensor:
    encoder = FakeEncoder()
    pixels = np.stack([encoder.prepare(color(level)) for level in levels])
    return encoder.encode_pixels(pixels)


def rows_of(batches: list[Embedded]) -> torch.Tensor:
    parts = [batch.rows for batch in batches if batch.rows is not None]
    return torch.cat(parts) if parts else torch.zeros(0, 3)


def outcomes_of(batches: list[Embedded]) -> list[Any]:
    return [outcome for batch in batches for outcome in batch.outcomes]


@pytest.mark.parametrize("batch_size", SIZES)
@pytest.mark.parametrize("workers", [None, 0, 1, 3])
def test_rows_are_in_the_order_of_the_images(
    encoder: FakeEncoder, batch_size: int | None, workers: int | None
) -> None:
    levels = [7 * n % 256 for n in range(80)]

    found = list(embed(encoder, map(color, levels), batch_size=batch_size, workers=workers))

    torch.testing.assert_close(rows_of(found), expected(levels))
    assert outcomes_of(found) == [None] * 80
    if batch_size:
        assert max(len(batch.outcomes) for batch in found) == min(batch_size, 80)


def test_keys_are_paths_and_names_of_samples(encoder: FakeEncoder, photos: list[Any]) -> None:
    images = [photos[0], Sample("photos.tar/1.jpg", photograph()), str(photos[1]), photograph()]

    found = list(embed(encoder, images))

    assert outcomes_of(found) == [str(photos[0]), "photos.tar/1.jpg", str(photos[1]), None]


@pytest.mark.parametrize("batch_size", SIZES)
def test_failures_are_in_place_with_their_keys(
    encoder: FakeEncoder, batch_size: int | None
) -> None:
    images = [color(1), "missing.jpg", color(2), Sample("clip.mp4#7", b"junk"), b"", color(3)]

    found = list(embed(encoder, images, on_error="yield", batch_size=batch_size))

    outcomes = outcomes_of(found)
    assert [type(outcome) is Failure for outcome in outcomes] == [
        *(False, True, False, True, True, False)
    ]
    failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    assert [failure.source for failure in failures] == ["missing.jpg", "clip.mp4#7", None]
    assert isinstance(failures[0].error, ImageNotFound)
    assert isinstance(failures[1].error, ImageError)
    assert failures[1].error.source == "clip.mp4#7"
    assert "clip.mp4#7" in str(failures[1].error)
    torch.testing.assert_close(rows_of(found), expected([1, 2, 3]))


def test_a_batch_of_failures_has_no_rows(encoder: FakeEncoder) -> None:
    (found,) = embed(encoder, [b"", "missing.jpg"], on_error="yield")

    assert found.rows is None
    assert all(isinstance(outcome, Failure) for outcome in found.outcomes)


@given(st.lists(st.one_of(st.integers(0, 255), st.none()), max_size=40), st.integers(1, 9))
@settings(max_examples=40)
def test_every_image_has_one_outcome_in_order(levels: list[int | None], batch_size: int) -> None:
    images = [b"junk" if level is None else color(level) for level in levels]

    found = list(embed(FakeEncoder(), images, on_error="yield", batch_size=batch_size))

    assert [isinstance(outcome, Failure) for outcome in outcomes_of(found)] == [
        level is None for level in levels
    ]
    good = [level for level in levels if level is not None]
    if good:
        torch.testing.assert_close(rows_of(found), expected(good))
    for batch in found:
        readable = sum(not isinstance(outcome, Failure) for outcome in batch.outcomes)
        assert (0 if batch.rows is None else len(batch.rows)) == readable


def test_the_first_unreadable_image_raises_by_default(encoder: FakeEncoder) -> None:
    with pytest.raises(ImageNotFound) as caught:
        list(embed(encoder, [color(1), "missing.jpg", b""]))

    assert caught.value.source == "missing.jpg"


def test_errors_other_than_image_errors_are_not_failures() -> None:
    class Broken(FakeEncoder):
        def prepare(self, image: Any) -> Any:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(embed(Broken(), [color(1)], on_error="yield"))


@pytest.mark.parametrize("size", [0, -1, 2.5, "8", True, float("nan")])
def test_an_invalid_batch_size_is_rejected(encoder: FakeEncoder, size: Any) -> None:
    with pytest.raises(InputError, match="batch_size="):
        check_batch_size(size)
    with pytest.raises(InputError, match="batch_size="):
        embed(encoder, [], batch_size=size)


@pytest.mark.parametrize("size", [None, 1, 10_000])
def test_a_valid_batch_size_is_accepted(size: int | None) -> None:
    assert check_batch_size(size) == size


@pytest.mark.parametrize("image", ["cat.jpg", color(1)], ids=["path", "array"])
def test_one_image_is_not_many(image: Any) -> None:
    check_many([image])
    with pytest.raises(InputError, match="expected an iterable of images, got one image"):
        check_many(image)


def test_there_is_one_truth_per_image() -> None:
    check_length(2, 2)
    with pytest.raises(InputError, match="got 2 images but 1 truths"):
        check_length(2, 1)


def test_a_value_that_is_not_iterable_is_rejected(encoder: FakeEncoder) -> None:
    with pytest.raises(ImageError, match="expected an image or an iterable of images"):
        embed(encoder, 5)  # type: ignore[arg-type]


def test_options_are_passed_to_the_encoder() -> None:
    received: list[dict[str, Any]] = []

    class Recording(FakeEncoder):
        def encode_pixels(self, pixels: Any, **options: Any) -> torch.Tensor:
            received.append(options)
            return super().encode_pixels(pixels)

    list(embed(Recording(), [color(1)] * 5, batch_size=2, normalize=False, project=False))

    assert received == [{"batch_size": 2, "normalize": False, "project": False}] * 3


def test_a_single_image_is_embedded_in_the_calling_thread(no_decoding_threads: Alive) -> None:
    threads: list[str] = []

    class Recording(FakeEncoder):
        def prepare(self, image: Any) -> Any:
            threads.append(threading.current_thread().name)
            return super().prepare(image)

    (found,) = embed(Recording(), photograph())

    assert threads == [threading.current_thread().name]
    assert found.rows is not None
    assert found.rows.shape == (1, 3)


def test_a_single_image_is_embedded_in_a_worker_while_other_programs_use_the_cores() -> None:
    threads: list[str] = []

    class Busy(FakeEncoder):
        is_busy = True

        def prepare(self, image: Any) -> Any:
            threads.append(threading.current_thread().name)
            return super().prepare(image)

    with ThreadPoolExecutor(1, thread_name_prefix="worker") as pool:
        Busy.map_batches = staticmethod(partial(lookahead.embed_batches, pool=pool))
        (found,) = embed(Busy(), photograph())
        with pytest.raises(ImageNotFound, match=r"^missing.jpg: no such image file"):
            list(embed(Busy(), "missing.jpg"))

    assert threads == ["worker_0", "worker_0"]
    assert found.rows is not None
    assert found.rows.shape == (1, 3)


def test_no_images_give_no_batches(encoder: FakeEncoder) -> None:
    assert list(embed(encoder, [])) == []


# memory and threads


def test_a_generator_is_read_ahead_by_a_bounded_number(
    encoder: FakeEncoder, no_decoding_threads: Alive
) -> None:
    taken = 0

    def images() -> Iterator[Any]:
        nonlocal taken
        for n in range(500):
            taken += 1
            yield color(n % 256)

    done = 0
    for batch in embed(encoder, images(), batch_size=4, workers=2):
        done += len(batch.outcomes)
        assert taken <= done + 3 * 4
    assert done == taken == 500


@pytest.mark.parametrize("workers", [1, 3])
def test_stopping_early_leaves_no_threads(
    encoder: FakeEncoder, no_decoding_threads: Alive, workers: int
) -> None:
    def images() -> Iterator[Any]:
        while True:
            yield color(9)

    batches = embed(encoder, images(), batch_size=2, workers=workers)
    assert len(next(batches).outcomes) == 2
    assert no_decoding_threads() != []

    batches.close()  # type: ignore[attr-defined]

    assert no_decoding_threads() == []


def test_an_error_of_the_images_is_raised_after_earlier_results(
    encoder: FakeEncoder, no_decoding_threads: Alive
) -> None:
    def images() -> Iterator[Any]:
        yield from (color(n) for n in range(4))
        raise RuntimeError("the camera is disconnected")

    batches = embed(encoder, images(), batch_size=2, on_error="yield")

    assert [len(next(batches).outcomes) for _ in range(2)] == [2, 2]
    with pytest.raises(RuntimeError, match="camera"):
        next(batches)


def test_batches_can_run_in_a_pool() -> None:
    levels = list(range(100))
    with ThreadPoolExecutor(3) as pool:

        class Pooled(FakeEncoder):
            map_batches = staticmethod(partial(lookahead.embed_batches, pool=pool))

        found = list(embed(Pooled(), map(color, levels)))

    torch.testing.assert_close(rows_of(found), expected(levels))


def levels_of(batches: Iterator[Embedded]) -> tuple[int, Exception]:
    """Count the images that arrive before an error, and return it."""
    count = 0
    try:
        for batch in batches:
            count += len(batch.outcomes)
    except (ImageError, RuntimeError) as error:
        return count, error
    pytest.fail("no error was raised")


@pytest.mark.parametrize("workers", [None, 0, 3])
@pytest.mark.parametrize("batch_size", [None, 4])
def test_images_before_an_error_arrive_before_it(
    workers: int | None, batch_size: int | None
) -> None:
    def source() -> Iterator[Any]:
        for level in range(10):
            yield color(level)
        raise RuntimeError("the source broke")

    options: dict[str, Any] = {"workers": workers, "batch_size": batch_size}
    broken = embed(FakeEncoder(), source(), on_error="yield", **options)
    unreadable = embed(FakeEncoder(), [*map(color, range(5)), "none.jpg", color(9)], **options)

    count, error = levels_of(broken)
    assert (count, str(error)) == (10, "the source broke")
    count, error = levels_of(unreadable)
    assert (count, type(error)) == (5, ImageNotFound)


@pytest.mark.parametrize("workers", ["2", -1, 2.5, True])
def test_workers_must_be_an_integer_of_at_least_0(workers: Any) -> None:
    with pytest.raises(InputError, match="must be an integer of at least 0"):
        embed(FakeEncoder(), [color(1)], workers=workers)


@pytest.mark.parametrize(("key", "image"), [(5, b"x"), (None, b"x"), ("a", Sample("b", b"x"))])
def test_a_sample_needs_a_text_key_and_an_image(key: Any, image: Any) -> None:
    with pytest.raises(InputError, match="expected Sample"):
        Sample(key, image)


def test_an_unsupported_image_in_a_sample_is_named_by_its_key() -> None:
    (batch,) = embed(FakeEncoder(), [Sample("row 7", None)], on_error="yield")  # type: ignore[arg-type]

    (failure,) = batch.outcomes
    assert isinstance(failure, Failure)
    assert failure.source == "row 7"
    assert str(failure.error).startswith("row 7: unsupported image type NoneType")


@pytest.mark.parametrize("bad", [None, {"image": color(3)}, b"no image", np.zeros(3), 5])
def test_an_unreadable_image_without_a_name_has_its_position(bad: Any) -> None:
    images = [color(1), color(2), color(3), bad]
    with pytest.raises(ImageError, match=r"^images\[3\]: ") as caught:
        list(embed(FakeEncoder(), images))
    assert len(str(caught.value)) < 600
    with pytest.raises(ImageError, match=r"^<bytes>: "):
        list(embed(FakeEncoder(), b"no image"))
