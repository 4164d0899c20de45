"""Convert numpy arrays and torch tensors to PIL images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from zeroshot.errors import image_error, shortened
from zeroshot.images.limits import MAX_PIXELS, too_many_pixels

NORMALIZED = "pass the image itself, or normalized pixels to model.encode_pixels"
OVERSHOOT = 0.25  # of the range of values: more than bicubic and Lanczos filters overshoot

if TYPE_CHECKING:
    from numpy.typing import NDArray


def from_array(array: NDArray[Any], name: str, max_pixels: int = MAX_PIXELS) -> Image.Image:
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
        if first and _is_normalized(array):
            fix = f"{NORMALIZED} as pixels[None]"
        if array.ndim == 3 and not first:
            fix = f"expected 1, 3 or 4 channels, got {array.shape[2]}"
        raise image_error(
            "bad_shape", name, f"expected an array of h x w x 3 or h x w, got {shape}; {fix}"
        )
    if array.size == 0:
        raise image_error("bad_shape", name, f"expected an array with pixels, got {shape}")
    if array.shape[0] * array.shape[1] > max_pixels:
        raise too_many_pixels(array.shape[1], array.shape[0], name, max_pixels)
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif np.issubdtype(array.dtype, np.floating):
        array = np.rint(check_unit_range(array, name) * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise image_error(
            "bad_values",
            name,
            "expected an array of uint8 (0..255) or float (0..1), got "
            f"{array.dtype}; {_conversion(array)}",
        )
    return Image.fromarray(np.ascontiguousarray(array))


def from_tensor(tensor: Any, name: str, max_pixels: int = MAX_PIXELS) -> Image.Image:
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
    return from_array(array.transpose(1, 2, 0) if array.ndim == 3 else array, name, max_pixels)


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
            f"expected float values in 0..1, got {low:.3g}..{high:.3g}; {_advice(low, high)}",
        )
    return values.astype(np.float32)


def _is_normalized(array: NDArray[Any]) -> bool:
    """Return whether these are pixels as `model.preprocess` makes them, with values below 0."""
    return np.issubdtype(array.dtype, np.floating) and bool((array < 0).any())


def _conversion(array: NDArray[Any]) -> str:
    """Say how to convert an array of an unsupported dtype to uint8."""
    if not np.issubdtype(array.dtype, np.integer):
        return "convert it to uint8"
    if array.min() >= 0 and array.max() <= 255:
        return "convert it with array.astype('uint8') or tensor.byte()"
    return "convert 16-bit values with (array / 257).astype('uint8') or (tensor / 257).byte()"


def _advice(low: float, high: float) -> str:
    """Say how to bring float values into 0..1, by their range."""
    if low >= -OVERSHOOT and high <= 1 + OVERSHOOT:
        return "if resampling overshot 0..1, clip: array.clip(0, 1) or tensor.clamp(0, 1)"
    if low >= 0 and high <= 255:
        return "divide by 255"
    if low >= -255 * OVERSHOOT and high > 16 and high <= 255 * (1 + OVERSHOOT):
        return "divide by 255 and clip to 0..1"
    if low >= -1 - OVERSHOOT and high <= 1 + OVERSHOOT:
        return f"convert -1..1 with (x + 1) / 2, or {NORMALIZED}"
    if low < 0:
        return f"{NORMALIZED}, or scale the values to 0..1"
    return "scale them: divide by 65535 if they are 16-bit values"
