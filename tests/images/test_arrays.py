"""Arrays and tensors become images, or the error says how to fix them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image

from tests.support import image_error_of, photograph, pixels_of
from zeroshot.errors import ImageError
from zeroshot.images import open_image

PHOTO = photograph()
IMAGE = Image.fromarray(PHOTO)


@pytest.mark.parametrize(
    "gray",
    [
        PHOTO[:, :, 0],
        PHOTO[:, :, :1],
        torch.tensor(PHOTO[:, :, 0]),
        torch.tensor(PHOTO[None, ..., 0]),
    ],
    ids=["[h, w]", "[h, w, 1]", "tensor [h, w]", "tensor [1, h, w]"],
)
def test_gray_arrays_become_three_equal_channels(gray: Any) -> None:
    np.testing.assert_array_equal(pixels_of(gray), np.repeat(PHOTO[:, :, :1], 3, axis=2))


def test_a_bfloat16_tensor_is_read() -> None:
    tensor = (torch.tensor(PHOTO.transpose(2, 0, 1)) / 255).bfloat16()
    assert np.abs(pixels_of(tensor).astype(int) - PHOTO).max() <= 1


def test_boolean_arrays_become_black_and_white() -> None:
    checks = np.indices((6, 8)).sum(0) % 2 == 1
    np.testing.assert_array_equal(pixels_of(checks)[:, :, 1], checks * 255)


@pytest.mark.parametrize(
    ("array", "kind", "says"),
    [
        (np.zeros((3, 20, 30), np.uint8), "bad_shape", "transpose(1, 2, 0)"),
        (torch.zeros(20, 30, 3), "bad_shape", "permute(2, 0, 1)"),
        (np.zeros((2, 20, 30, 3), np.uint8), "bad_shape", "one image at a time"),
        (torch.zeros(2, 3, 20, 30), "bad_shape", "expected an array of h x w x 3"),
        (np.zeros(20, np.uint8), "bad_shape", "20"),
        (np.zeros((), np.uint8), "bad_shape", "expected an array of h x w x 3"),
        (torch.zeros(()), "bad_shape", "expected an array of h x w x 3"),
        (np.zeros((20, 30, 2), np.uint8), "bad_shape", "20x30x2"),
        (np.zeros((0, 30, 3), np.uint8), "bad_shape", "array with pixels"),
        (torch.zeros(3, 0, 0), "bad_shape", "array with pixels"),
        (Image.new("RGB", (0, 5)), "bad_shape", "0x5"),
        (np.full((4, 4), np.nan), "bad_values", "NaN"),
        (np.full((4, 4), np.inf), "bad_values", "infinity"),
        (np.full((4, 4), 1e300), "bad_values", "scale them"),
        (PHOTO.astype(np.float32), "bad_values", "divide by 255"),
        (np.linspace(-0.018, 0.85, 16).reshape(4, 4), "bad_values", "clip: array.clip(0, 1)"),
        (torch.linspace(0, 1.02, 48).reshape(3, 4, 4), "bad_values", "tensor.clamp(0, 1)"),
        (np.linspace(-3, 258, 16).reshape(4, 4), "bad_values", "divide by 255 and clip"),
        (np.linspace(-1, 1, 16).reshape(4, 4), "bad_values", "(x + 1) / 2"),
        (np.linspace(-2.1, 2.6, 16).reshape(4, 4), "bad_values", "encode_pixels"),
        (np.linspace(0, 65_535, 16).reshape(4, 4), "bad_values", "divide by 65535"),
        (np.full((4, 4, 3), -0.5), "bad_values", "encode_pixels"),
        (np.linspace(-2, 2, 108).reshape(3, 6, 6), "bad_shape", "pass the image itself, or norm"),
        (torch.linspace(-2, 2, 108).reshape(3, 6, 6), "bad_values", "pass the image itself, or n"),
        (PHOTO.astype(np.uint16), "bad_values", "uint16; convert it with array.astype('uint8')"),
        (PHOTO.astype(np.uint16) * 257, "bad_values", "with (array / 257).astype('uint8')"),
        (PHOTO.astype(np.int64), "bad_values", "int64"),
        (PHOTO.astype(complex), "bad_values", "complex128"),
        (PHOTO.astype(object), "bad_values", "object"),
        (torch.zeros(3, 4, 4, dtype=torch.int32), "bad_values", "int32"),
        (torch.zeros(3, 4, 4, device="meta"), "bad_values", "cannot read the tensor's values"),
        (torch.zeros(4, 4).to_sparse(), "bad_values", "cannot read the tensor's values"),
    ],
    ids=lambda value: None if isinstance(value, str) else " ",
)
def test_invalid_arrays_are_rejected_with_a_fix(array: Any, kind: str, says: str) -> None:
    error = image_error_of(array)
    assert error.kind == kind
    assert says in str(error)


@given(
    arrays.arrays(
        dtype=st.one_of(
            arrays.floating_dtypes(),
            arrays.integer_dtypes(),
            arrays.unsigned_integer_dtypes(),
            arrays.boolean_dtypes(),
            arrays.complex_number_dtypes(),
        ),
        shape=arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
    )
)
def test_any_array_gives_an_image_or_an_image_error(array: NDArray[Any]) -> None:
    try:
        image = open_image(array)
    except ImageError:
        return
    assert image.size == (array.shape[1], array.shape[0])
