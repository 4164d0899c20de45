"""Pictures and files become levels in order, in parts of limited size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.cuda.nvimgcodec import FAST, LEVELS, FakeLibrary, install, jpeg, load, worst
from tests.engine.cuda.support import MEAN, STD, backend_of
from tests.engine.support import CONFIGS
from tests.support import photograph
from zeroshot.engine.backend import Encoded, Levels, Picture
from zeroshot.engine.cuda import pictures as module
from zeroshot.engine.cuda.backend import CudaBackend
from zeroshot.images.preprocess import Preprocess

CONFIG = CONFIGS["quick_gelu"]
EXACT = Preprocess(40, mean=MEAN, std=STD)
sides = st.lists(st.tuples(st.integers(30, 120), st.integers(30, 120)), max_size=12)


@settings(max_examples=25)
@given(sides=sides, pixels=st.sampled_from([1, 20_000, 10**9]), count=st.integers(1, 5))
def test_images_keep_their_order(sides: list[tuple[int, int]], pixels: int, count: int) -> None:
    backend = backend_of(CONFIG)
    with pytest.MonkeyPatch.context() as patch:
        install(FakeLibrary(), patch)
        patch.setattr(module, "PIXELS", pixels)
        patch.setattr(module, "COUNT", count)
        contents = [jpeg(*size, seed) for seed, size in enumerate(sides)]

        found = load(backend, *contents)

    assert all(worst(*pair) <= LEVELS for pair in zip(found, contents, strict=True))


@given(sides=sides, pixels=st.sampled_from([1, 20_000, 10**9]), count=st.integers(1, 5))
def test_parts_have_limits(sides: list[tuple[int, int]], pixels: int, count: int) -> None:
    images = [(place, *size) for place, size in enumerate(sorted(sides))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PIXELS", pixels)

        parts = list(module._split(images, count))

    assert [place for part in parts for place in part] == [*range(len(sides))]
    for part in parts:
        sizes = np.array([images[place][1:] for place in part])
        canvas = int(sizes.max(axis=0).prod())
        assert len(part) <= count
        assert len(part) == 1 or len(part) * canvas <= pixels
        assert canvas <= module.WASTE * sizes.prod(axis=1).min()


def test_pictures_of_a_half_precision_model_are_resampled_by_the_device() -> None:
    pytest.importorskip("simplejpeg")
    backend = backend_of(CONFIG, dtype=torch.float16)
    contents = [jpeg(90, 70, 1), jpeg(60, 80, 2)]

    loaded = [backend.load(content, EXACT) for content in contents]

    assert all(isinstance(each, Picture) for each in loaded)
    found = backend.decode(loaded)
    assert max(map(worst, found, contents)) <= LEVELS


@pytest.mark.parametrize(
    ("size", "why"),
    [
        ((60, 30), "it is enlarged"),
        ((50, 140), "Pillow may resample its rows first"),
        ((900, 700), "many would need much memory"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_unusual_pictures_are_resampled_on_the_cpu(size: tuple[int, int], why: str) -> None:
    backend = backend_of(CONFIG, dtype=torch.float16)

    assert isinstance(backend.load(jpeg(*size), EXACT), Levels), why


def test_an_unusual_file_is_decoded_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    install(FakeLibrary(), monkeypatch)
    backend = backend_of(CONFIG)

    assert isinstance(backend.load(jpeg(90, 70), FAST), Encoded)
    assert isinstance(backend.load(jpeg(50, 140), FAST), Levels)


def test_a_background_may_be_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    install(FakeLibrary(), monkeypatch)
    backend = backend_of(CONFIG)
    preprocess = replace(FAST, background=[255, 255, 255])
    content = jpeg()

    (found,) = backend.decode([backend.load(content, preprocess)])

    assert worst(found, content) <= LEVELS


def test_a_part_that_does_not_fit_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("simplejpeg")
    install(FakeLibrary(), monkeypatch)
    backend = backend_of(CONFIG, dtype=torch.float16)
    contents = [jpeg(90, 70, seed) for seed in range(7)]
    tried = out_of_memory(backend, 2, monkeypatch)
    loaded = [
        backend.load(content, preprocess)
        for content, preprocess in zip(contents, [FAST, EXACT] * 4, strict=False)
    ]

    found = backend.decode(loaded)

    assert max(map(worst, found, contents)) <= LEVELS
    assert max(tried) == 7
    tried.clear()
    backend.decode(loaded)
    assert max(tried) <= 3  # it is remembered


def test_a_picture_that_does_not_fit_is_resampled_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("simplejpeg")
    install(FakeLibrary(), monkeypatch)
    backend = backend_of(CONFIG, dtype=torch.float16)
    out_of_memory(backend, 0, monkeypatch)
    contents = [jpeg(90, 70, seed) for seed in range(2)]

    found = backend.decode([backend.load(contents[0], FAST), backend.load(contents[1], EXACT)])

    assert max(map(worst, found, contents)) <= LEVELS


def out_of_memory(backend: CudaBackend, fits: int, patch: pytest.MonkeyPatch) -> list[int]:
    """Let the device resample at most `fits` pictures at once; return a log of what is tried."""
    resizer, tried = backend._pictures._resizer, list[int]()
    resize = resizer.resize

    def limited(pictures: Sequence[Picture]) -> torch.Tensor:
        tried.append(len(pictures))
        if len(pictures) > fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return resize(pictures)

    patch.setattr(resizer, "resize", limited)
    return tried


def test_other_images_are_returned_as_they_are() -> None:
    backend = backend_of(CONFIG)
    levels = backend.load(photograph(), EXACT)
    given = [levels, ValueError("broken")]

    assert backend.decode(given) == given
