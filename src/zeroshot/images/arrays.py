"""Convert numpy arrays and torch tensors to PIL images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from zeroshot.errors import image_error

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_PIXELS = 64_000_000  # width x height; an RGB image of that size takes 192 MB


def from_array(array: NDArray[Any], name: str) -> Image.Image:
    shape = "x".join(map(str, array.shape))
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        first = array.ndim == 3 and array.shape[0] in (1, 3, 4)
        fix = "transpose it with array.transpose(1, 2, 0)" if first else "give one image at a time"
        if array.ndim == 3 and not first:
            fix = f"{array.shape[2]} channels are no picture"
        raise image_error("bad_shape", name, f"array of {shape}, wanted h x w x 3 or h x w; {fix}")
    if array.size == 0:
        raise image_error("bad_shape", name, f"array of {shape} holds no pixels")
    if array.shape[0] * array.shape[1] > MAX_PIXELS:
        raise image_error("too_many_pixels", name, f"array of {shape} exceeds {MAX_PIXELS} pixels")
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif np.issubdtype(array.dtype, np.floating):
        array = np.rint(unit_range(array, name) * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise image_error(
            "bad_values",
            name,
            f"array of {array.dtype}, wanted uint8 (0..255) or float (0..1); convert it first",
        )
    return Image.fromarray(np.ascontiguousarray(array))


def from_tensor(tensor: Any, name: str) -> Image.Image:
    shape = "x".join(map(str, tensor.shape))
    if tensor.ndim == 3 and tensor.shape[0] not in (1, 3, 4):
        fix = "permute(2, 0, 1) it" if tensor.shape[2] in (1, 3, 4) else "give one image at a time"
        raise image_error("bad_shape", name, f"tensor of {shape}, wanted 3 x h x w; {fix}")
    try:
        tensor = tensor.detach().cpu()
        array = (tensor.float() if tensor.is_floating_point() else tensor).numpy()  # no bfloat16
    except (RuntimeError, TypeError) as error:  # on no device, sparse, quantised
        raise image_error(
            "bad_values", name, f"the tensor's values cannot be had ({error})"
        ) from error
    return from_array(array.transpose(1, 2, 0) if array.ndim == 3 else array, name)


def unit_range(values: NDArray[Any], name: str) -> NDArray[np.float32]:
    """Check that all values lie within 0..1 and return them as float32."""
    if not np.isfinite(values).all():
        raise image_error("bad_values", name, "it holds NaN or infinity")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        raise image_error(
            "bad_values",
            name,
            f"float values {low:.3g}..{high:.3g}, wanted 0..1; divide by 255, or give pixels that "
            "are normalised already to model.encode_pixels",
        )
    return values.astype(np.float32)
