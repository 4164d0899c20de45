"""Read an image from Pillow's own memory with ctypes, instead of copying it.

This makes `resample` 1.7 times as fast for a 500 x 375 image (0.32 ms instead of 0.55 ms) and 3.8
times for 1920 x 1080 (1.8 ms instead of 7.0 ms); medians of alternating rounds on one thread of an
AMD EPYC. numpy gets an image as a copy of a copy, which takes longer than resampling it. This
module can be deleted: `torch.from_numpy(np.array(image))` gives the same pixels.

Pillow exports the address of its memory by the Arrow C data interface
(https://arrow.apache.org/docs/format/CDataInterface.html). The exported description is checked
here. An image with another memory layout, such as a large one in several blocks, is copied.
"""

from __future__ import annotations

import ctypes

import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

EXPORTS = 13  # earlier versions of Pillow export padded rows incorrectly, or crash on reuse
BYTES = 4  # per pixel in Pillow's memory: red, green, blue, unused


class _Schema(ctypes.Structure):
    """`struct ArrowSchema`, up to the last field that is read."""


class _Array(ctypes.Structure):
    """`struct ArrowArray`, up to the last field that is read."""


_Schema._fields_ = [
    ("format", ctypes.c_char_p),
    ("name", ctypes.c_char_p),
    ("metadata", ctypes.c_char_p),
    ("flags", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("children", ctypes.POINTER(ctypes.POINTER(_Schema))),
]
_Array._fields_ = [
    ("length", ctypes.c_int64),
    ("null_count", ctypes.c_int64),
    ("offset", ctypes.c_int64),
    ("n_buffers", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(_Array))),
]
_address = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


def gray_levels(image: Image.Image | NDArray[np.uint8]) -> tuple[Tensor, object]:
    """Return the gray levels of an RGB image or an array [h, w, 3], and the owner of their memory.

    The levels are uint8 [1, 3 or 4, h, w]; a fourth channel is unused. They must not be written to,
    and are valid only as long as the owner is referenced.
    """
    if isinstance(image, np.ndarray):
        return torch.from_numpy(image).permute(2, 0, 1).unsqueeze(0), image
    owner = _export(image)
    levels = None if owner is None else _view(image, *owner)
    if levels is None:
        levels = torch.from_numpy(np.array(image))
    return levels.permute(2, 0, 1).unsqueeze(0), owner


def _export(image: Image.Image) -> tuple[object, object] | None:
    """Return the Arrow schema and array of an image, or None if not available."""
    if int(PIL.__version__.partition(".")[0]) < EXPORTS:
        return None
    try:
        schema, array = image.__arrow_c_array__()
    except ValueError:  # in several blocks
        return None
    return schema, array


def _view(image: Image.Image, schema: object, array: object) -> Tensor | None:
    """Return uint8 [h, w, 4] as a view of exported memory.

    Returns None for another memory layout.
    """
    description = _Schema.from_address(_address(schema, b"arrow_schema") or 0)
    outer = _Array.from_address(_address(array, b"arrow_array") or 0)
    pixels = image.width * image.height
    if description.format != b"+w:4" or description.n_children != 1 or outer.n_children != 1:
        return None
    inner = outer.children[0].contents
    if description.children[0].contents.format != b"C" or outer.offset or inner.offset:
        return None
    if outer.length != pixels or inner.length != BYTES * pixels or inner.n_buffers != 2:
        return None
    memory = (ctypes.c_uint8 * (BYTES * pixels)).from_address(inner.buffers[1])
    return torch.frombuffer(memory, dtype=torch.uint8).view(image.height, image.width, BYTES)
