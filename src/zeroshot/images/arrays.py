"""Convert numpy arrays and torch tensors to PIL images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from zeroshot.errors import image_error, shortened

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_PIXELS = 64_000_000  # width x height; an RGB image of that size takes 192 MB


def from_array(array: NDArray[Any], name: str) -> Image.Image:
    """Convert an array to a PIL image.

    `array` is [h, w], [h, w, 1], [h, w, 3] or [h, w, 4], uint8 in 0..255, float in 0..1 or bool.
    Raises ImageError for other shapes, dtypes and values; `name` is for messages.
    """
    shape = "x".join(map(str, array.shape)) or "a scalar"
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        first = array.ndim == 3 and array.shape[0] in (1, 3, 4)
        fix = "transpose it with array.transpose(1, 2, 0)" if first else "pass one image at a time"
        if array.ndim == 3 and not first:
            fix = f"expected 1, 3 or 4 channels, got {array.shape[2]}"
        raise image_error(
            "bad_shape", name, f"expected an array of h x w x 3 or h x w, got {shape}; {fix}"
        )
    if array.size == 0:
        raise image_error("bad_shape", name, f"expected an array with pixels, got {shape}")
    if array.shape[0] * array.shape[1] > MAX_PIXELS:
        raise image_error(
            "too_many_pixels", name, f"array of {shape} exceeds {MAX_PIXELS} pixels; resize it"
        )
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif np.issubdtype(array.dtype, np.floating):
        array = np.rint(check_unit_range(array, name) * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise image_error(
            "bad_values",
            name,
            f"expected an array of uint8 (0..255) or float (0..1), got {array.dtype}; convert it",
        )
    return Image.fromarray(np.ascontiguousarray(array))


def from_tensor(tensor: Any, name: str) -> Image.Image:
    """Convert a tensor to a PIL image.

    `tensor` is [h, w] or channels first, with dtypes and values as in `from_array`.
    Raises ImageError for other shapes, dtypes and values; `name` is for messages.
    """
    shape = "x".join(map(str, tensor.shape)) or "a scalar"
    if tensor.ndim == 3 and tensor.shape[0] not in (1, 3, 4):
        last = tensor.shape[2] in (1, 3, 4)
        fix = "use tensor.permute(2, 0, 1)" if last else "pass one image at a time"
        raise image_error("bad_shape", name, f"expected a tensor of 3 x h x w, got {shape}; {fix}")
    try:
        tensor = tensor.detach().cpu()
        array = (tensor.float() if tensor.is_floating_point() else tensor).numpy()  # no bfloat16
    except (RuntimeError, TypeError) as error:  # on the meta device, sparse, quantized
        raise image_error(
            "bad_values", name, f"cannot read the tensor's values ({shortened(str(error), 200)})"
        ) from error
    return from_array(array.transpose(1, 2, 0) if array.ndim == 3 else array, name)


def check_unit_range(values: NDArray[Any], name: str) -> NDArray[np.float32]:
    """Return float32 values; raise ImageError unless all lie within 0..1."""
    if not np.isfinite(values).all():
        raise image_error(
            "bad_values", name, "it contains NaN or infinity; expected values in 0..1"
        )
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        raise image_error(
            "bad_values",
            name,
            f"expected float values in 0..1, got {low:.3g}..{high:.3g}; divide by 255, or pass "
            "normalized pixels to model.encode_pixels",
        )
    return values.astype(np.float32)
