"""The grey levels of a picture as a tensor over Pillow's own memory, where that can be had.

numpy gets a picture as a copy of a copy, which takes longer than resampling it. Pillow also tells
where its memory lies, by the Arrow C data interface
(https://arrow.apache.org/docs/format/CDataInterface.html); what that says is checked here, and a
picture that lies otherwise, as large ones do in several pieces, is copied.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import PIL
import torch
from PIL import Image
from torch import Tensor

EXPORTS = 13  # Pillow before it tells wrongly of padded rows, and may crash the second time
BYTES = 4  # of a pixel in Pillow's memory: red, green, blue, and one unused


class _Schema(ctypes.Structure):
    """`struct ArrowSchema`, as far as it is read."""


class _Array(ctypes.Structure):
    """`struct ArrowArray`, as far as it is read."""


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


@contextmanager
def grey_levels(picture: Image.Image) -> Iterator[Tensor]:
    """Give the levels of an RGB picture: uint8 [1, 3 or 4, h, w], a fourth channel unused.

    Only to be read, and only inside: the memory is the picture's.
    """
    capsules = _exported(picture)
    found = None if capsules is None else _over(picture, *capsules)
    if found is None:
        found = torch.from_numpy(np.array(picture))
    yield found.permute(2, 0, 1).unsqueeze(0)
    del capsules  # which kept the memory


def _exported(picture: Image.Image) -> tuple[object, object] | None:
    if int(PIL.__version__.partition(".")[0]) < EXPORTS:
        return None
    try:
        schema, array = picture.__arrow_c_array__()
    except ValueError:  # in several pieces
        return None
    return schema, array


def _over(picture: Image.Image, schema: object, array: object) -> Tensor | None:
    """Return uint8 [h, w, 4] over exported memory, None unless that is what it holds."""
    kind = _Schema.from_address(_address(schema, b"arrow_schema") or 0)
    told = _Array.from_address(_address(array, b"arrow_array") or 0)
    pixels = picture.width * picture.height
    if kind.format != b"+w:4" or kind.n_children != 1 or told.n_children != 1:
        return None
    inner = told.children[0].contents
    if kind.children[0].contents.format != b"C" or told.offset or inner.offset:
        return None
    if told.length != pixels or inner.length != BYTES * pixels or inner.n_buffers != 2:
        return None
    memory = (ctypes.c_uint8 * (BYTES * pixels)).from_address(inner.buffers[1])
    return torch.frombuffer(memory, dtype=torch.uint8).view(picture.height, picture.width, BYTES)
