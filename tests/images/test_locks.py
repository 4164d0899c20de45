"""Two threads never decode one image object at once."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support import image_error_of, in_threads, photograph, pixels_of, succeeds_in_child
from zeroshot.images.locks import _LOCKS, get_lock


def test_a_lazy_image_shared_by_threads_decodes_correctly(tmp_path: Path) -> None:
    big = photograph(900, 700)
    path = tmp_path / "big.png"
    Image.fromarray(big).save(path)
    for _ in range(4):
        with Image.open(path) as image:
            found = in_threads(partial(pixels_of, image))
        assert all(np.array_equal(pixels, big) for pixels in found)


def test_an_object_always_has_the_same_lock() -> None:
    first, second = object(), object()

    assert get_lock(first) is get_lock(first)
    assert {id(get_lock(first)), id(get_lock(second))} <= {id(lock) for lock in _LOCKS}


def test_the_lock_is_released_after_an_error() -> None:
    image = Image.new("RGB", (0, 5))

    image_error_of(image)

    assert get_lock(image).acquire(blocking=False)
    get_lock(image).release()


def test_a_file_shared_by_threads_is_read_completely_by_each(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(photograph()).save(path)
    with path.open("rb") as file, ThreadPoolExecutor(6) as pool:
        found = list(pool.map(pixels_of, [file] * 60))

    assert all(np.array_equal(pixels, photograph()) for pixels in found)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:This process.*multi-threaded:DeprecationWarning")
def test_a_forked_child_can_open_an_image_that_the_parent_decodes() -> None:
    image = Image.fromarray(photograph())

    with get_lock(image):  # as held by another thread
        assert succeeds_in_child(lambda: pixels_of(image), seconds=5)
