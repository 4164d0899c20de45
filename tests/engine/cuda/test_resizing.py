"""Resampling on the device: Pillow's arithmetic, for pictures of any size in one batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from tests.engine.cuda.support import MEAN, STD, LateRuntime
from tests.support import photograph
from zeroshot.engine.backend import Picture
from zeroshot.engine.cuda.resizing import Resizer, coefficients
from zeroshot.engine.cuda.runtime import make_runtime
from zeroshot.engine.cuda.staging import Staging
from zeroshot.images.preprocess import RESAMPLING, Preprocess

SIZE = 40
CPU = torch.device("cpu")
SIDES = st.integers(SIZE, 150)


def resized(
    pictures: list[NDArray[np.uint8]], preprocess: Preprocess, device: torch.device = CPU
) -> NDArray[np.uint8]:
    resizer = Resizer(Staging(make_runtime(device), slots=2, slot_bytes=50_000), device)
    found = resizer.resize([Picture(picture, preprocess) for picture in pictures])
    assert found.dtype == torch.uint8
    return found.cpu().numpy()


def differences(
    pictures: list[NDArray[np.uint8]], preprocess: Preprocess, device: torch.device = CPU
) -> NDArray[np.int64]:
    expected = np.stack([preprocess.levels(picture) for picture in pictures])
    return np.abs(resized(pictures, preprocess, device).astype(np.int64) - expected)


@pytest.mark.parametrize("mode", ["shortest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_levels_are_pillows(mode: str, interpolation: str, device: torch.device) -> None:
    preprocess = Preprocess(
        SIZE,
        mean=MEAN,
        std=STD,
        resize_mode=mode,  # type: ignore[arg-type]
        interpolation=interpolation,  # type: ignore[arg-type]
    )
    pictures = [
        photograph(*size, seed)
        for seed, size in enumerate([(90, 70), (70, 90), (41, 40), (333, 47), (40, 40)])
    ]

    found = differences(pictures, preprocess, device)

    assert found.max() <= 1
    # where a sum is close to a half, more often for the few coefficients of "bilinear"
    assert (found > 0).mean() < (0.001 if interpolation == "bicubic" else 0.03)


def test_noise_and_edges_of_the_range_are_pillows() -> None:
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (300, 200, 3), dtype=np.uint8)
    black_and_white = 255 * random.integers(0, 2, (200, 300, 3), dtype=np.uint8)

    found = differences([noise, black_and_white], Preprocess(SIZE, mean=MEAN, std=STD))

    assert found.max() <= 1


@settings(max_examples=30)
@given(
    sides=st.lists(
        st.tuples(st.integers(SIZE, 150), st.integers(SIZE, 150)), min_size=1, max_size=6
    )
)
def test_a_picture_does_not_depend_on_the_others_of_its_batch(sides: list[tuple[int, int]]) -> None:
    preprocess = Preprocess(SIZE, mean=MEAN, std=STD)
    pictures = [photograph(*size, n) for n, size in enumerate(sides)]

    together = resized(pictures, preprocess)

    apart = np.concatenate([resized([picture], preprocess) for picture in pictures])
    assert np.abs(together.astype(int) - apart).max() <= 1
    assert (together != apart).mean() < 0.001


@pytest.mark.parametrize("kind", ["bicubic", "bilinear"])
@pytest.mark.parametrize(("length", "resized_to"), [(500, 298), (375, 224), (51, 50), (30, 90)])
def test_coefficients_are_those_of_pillow(kind: str, length: int, resized_to: int) -> None:
    # a bright pixel at each place shows its coefficients, to within the rounding of levels
    image = Image.fromarray(255 * np.eye(length, dtype=np.uint8))

    sides = [(length, resized_to, 0), (length - 1, resized_to, 0)]
    found = coefficients(sides, length + 5, resized_to, kind, CPU)[0].numpy()  # type: ignore[arg-type]

    expected = np.asarray(image.resize((resized_to, length), RESAMPLING[kind]))  # type: ignore[index]
    assert np.abs(np.clip(255 * found[:length], 0, 255) - expected).max() <= 0.51
    assert not found[length:].any()
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-6)


def test_pictures_on_the_device_and_on_the_host_share_a_batch() -> None:
    preprocess = Preprocess(SIZE, mean=MEAN, std=STD)
    first, second = photograph(60, 80, 1), photograph(70, 50, 2)
    resizer = Resizer(Staging(LateRuntime(), slots=2, slot_bytes=20_000), CPU)

    found = resizer.resize(
        [Picture(torch.from_numpy(first), preprocess), Picture(second, preprocess)]
    )

    assert np.array_equal(found.numpy(), resized([first, second], preprocess))
