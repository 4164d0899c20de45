"""Read MATLAB files of version 5, without executing anything.

SciPy's reader crashes the interpreter on damaged files: 9 of 300 random changes of an uncompressed
file ended in a segmentation fault (SciPy 1.17). The data sets need numbers, text, cells and
structs only.

Source: MAT-File Format, R2024a, https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from zeroshot.errors import InputError, shortened, some

HEADER = 128  # bytes
VERSION = 0x0100
MATRIX, COMPRESSED = 14, 15  # types of elements
NUMBERS = {
    1: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    5: "i4",
    6: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
}
UTF8, UTF16, UTF32 = 16, 17, 18
CELL, STRUCT, CHAR = 1, 2, 4  # classes of arrays
NUMERIC = range(6, 16)
COMPLEX = 1 << 11  # of the flags of an array
DEPTH = 8  # of cells and structs in each other
LARGEST = 1 << 28  # bytes of a file, and of a variable after decompression


def mat(path: Path, *names: str) -> list[Any]:
    """Return variables of a MATLAB file of version 5, without dimensions of size 1.

    Numbers are arrays in the type of the file, text is str, cells are arrays of objects and structs
    arrays of dicts. Raises InputError for another file.
    """
    found: dict[str, Any] = {}
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"larger than {LARGEST >> 20} MiB")
        for name, rest in _variables(path.read_bytes()):
            if name in names:
                found[name] = rest()
    except (OSError, ValueError, struct.error, zlib.error) as error:
        raise InputError(
            f"{path}: expected a MATLAB file of version 5 ({shortened(str(error), 100)}); "
            "download it again"
        ) from error
    if absent := [name for name in names if name not in found]:
        raise InputError(
            f"{path}: expected the variables {', '.join(names)}, got no {some(absent)}; "
            "download it again"
        )
    return [found[name] for name in names]


class _Elements:
    """The elements of a part of a file, one after the other."""

    def __init__(self, content: memoryview, order: str) -> None:
        self._content, self.order, self._place = content, order, 0

    def __bool__(self) -> bool:
        return self._place < len(self._content)

    def next(self) -> tuple[int, memoryview]:
        """Return the type and the content of the next element."""
        kind, size = struct.unpack_from(f"{self.order}2I", self._content, self._place)
        start = self._place + 8
        if kind >> 16:  # at most 4 bytes: their number is in the upper half, they follow at once
            kind, size, start = kind & 0xFFFF, kind >> 16, start - 4
            if size > 4:
                raise ValueError(f"small element of {size} bytes")
            self._place += 8
        else:
            padding = 0 if kind == COMPRESSED else -size % 8
            self._place = start + size + padding
        if start + size > len(self._content):
            raise ValueError(f"truncated: element of {size} bytes, {len(self._content)} in all")
        return kind, self._content[start : start + size]

    def numbers(self) -> np.ndarray[Any, Any]:
        """Return the numbers of the next element: [n]."""
        kind, content = self.next()
        if kind not in NUMBERS:
            raise ValueError(f"expected numbers, got an element of type {kind}")
        return np.frombuffer(content, f"{self.order}{NUMBERS[kind]}")

    def within(self, content: memoryview) -> _Elements:
        """Return the elements in an element."""
        return _Elements(content, self.order)


def _variables(content: bytes) -> Iterator[tuple[str, Any]]:
    """Yield the name of each variable, and a function that reads its value."""
    order = {b"IM": "<", b"MI": ">"}.get(content[HEADER - 2 : HEADER])
    if order is None or struct.unpack_from(f"{order}H", content, HEADER - 4) != (VERSION,):
        raise ValueError("no header of version 5")
    elements = _Elements(memoryview(content)[HEADER:], order)
    while elements:
        kind, part = elements.next()
        if kind == COMPRESSED:
            stream = zlib.decompressobj()
            unpacked = stream.decompress(part, LARGEST)
            if not stream.eof:
                raise ValueError("truncated or too large compressed variable")
            kind, part = elements.within(memoryview(unpacked)).next()
        if kind != MATRIX:
            raise ValueError(f"expected a variable, got an element of type {kind}")
        inner = elements.within(part)
        number, shape, name = _description(inner)
        yield name, lambda a=number, b=shape, c=inner: _value(a, b, c, 0)


def _description(elements: _Elements) -> tuple[int, tuple[int, ...], str]:
    """Return class, shape and name of an array."""
    flags, shape = elements.numbers(), elements.numbers()
    _, name = elements.next()
    if len(flags) != 2 or not 2 <= len(shape) <= 8 or min(shape) < 0:
        raise ValueError("array without valid flags and dimensions")
    if int(flags[0]) & COMPLEX:
        raise ValueError("complex numbers, which are not supported")
    return int(flags[0]) & 0xFF, tuple(map(int, shape)), bytes(name).decode("ascii")


def _value(number: int, shape: tuple[int, ...], elements: _Elements, depth: int) -> Any:
    """Return the content of an array of a class."""
    count = math.prod(shape)
    if number in NUMERIC:
        return _shaped(elements.numbers(), shape)
    if number == CHAR:
        return _text(elements, shape)
    if number == CELL:
        values = [_array(elements, depth) for _ in _counted(count)]
        return _shaped(_objects(values), shape)
    if number == STRUCT:
        length = int(elements.numbers().sum())
        _, content = elements.next()
        if not 0 < length <= 64 or len(content) % length:
            raise ValueError(f"struct with names of {length} bytes")
        starts = range(0, len(content), length)
        names = [bytes(content[n : n + length]).rstrip(b"\0").decode("ascii") for n in starts]
        rows = [
            {name: _array(elements, depth) for name in names}
            for _ in _counted(count if names else 0)
        ]
        return _shaped(_objects(rows), shape)
    raise ValueError(f"array of class {number}, which is not supported")


def _counted(count: int) -> range:
    """Return a range of elements; reading ends with an error where they are fewer."""
    if count > LARGEST // 8:  # an element has 8 bytes or more
        raise ValueError(f"array of {count} elements")
    return range(count)


def _array(elements: _Elements, depth: int) -> Any:
    """Return an array in a cell or struct."""
    if depth >= DEPTH:
        raise ValueError(f"more than {DEPTH} arrays in each other")
    kind, content = elements.next()
    if kind != MATRIX:
        raise ValueError(f"expected an array, got an element of type {kind}")
    if not content:  # how MATLAB writes [] in a cell
        return np.zeros(0)
    inner = elements.within(content)
    number, shape, _ = _description(inner)
    return _value(number, shape, inner, depth + 1)


def _text(elements: _Elements, shape: tuple[int, ...]) -> str:
    kind, content = elements.next()
    order = "le" if elements.order == "<" else "be"
    wide = f"utf-16-{order}"
    codecs = {1: "ascii", 2: "latin-1", 4: wide, UTF8: "utf-8", UTF16: wide}
    codecs[UTF32] = f"utf-32-{order}"
    if kind not in codecs or (0 not in shape and shape[0] != 1):
        raise ValueError(f"expected text in a line, got type {kind} of shape {shape}")
    return bytes(content).decode(codecs[kind])


def _objects(values: list[Any]) -> np.ndarray[Any, Any]:
    result = np.empty(len(values), object)
    for n, value in enumerate(values):
        result[n] = value
    return result


def _shaped(values: np.ndarray[Any, Any], shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Return values in MATLAB's order, by columns, without dimensions of size 1."""
    return values.reshape(shape, order="F").squeeze()
