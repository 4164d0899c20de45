"""Read named tensors and metadata of a safetensors file.

The header is limited before it is parsed.
"""

from __future__ import annotations

import json
import reprlib
import struct
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from zeroshot.checkpoint.formats.mapping import Content, map_file
from zeroshot.checkpoint.formats.zips import unsafe_error as _error
from zeroshot.errors import IncompatibleWeights, UnsafeWeightsError, shortened

MAX_HEADER = 4 * 2**20  # bytes; 10,000 tensors need about one MB
MAX_TENSORS = 10_000
MAX_NAME = 512  # characters
MAX_MARKS = {b"{": MAX_TENSORS + 100, b"[": 2 * MAX_TENSORS + 100, b",": 20 * MAX_TENSORS}
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def read_safetensors(path: Path) -> Content:
    """Return the file's tensors, memory-mapped, and its metadata.

    The safetensors library rejects tensors that overlap, leave holes or extend past the end. The
    tensors are then views of a separate map, whose pages can be released.
    """
    source = str(path)
    header, start = check_header(path)
    try:
        with safe_open(path, framework="pt") as file:
            data = map_file(path)
            tensors = {
                name: file.get_tensor(name) if tensor is None else tensor
                for name, tensor in _view_tensors(data, header, start)
            }
            return Content(tensors, dict(file.metadata() or {}), (data,))
    except (SafetensorError, RuntimeError, ValueError, TypeError, OverflowError) as error:
        raise _error(source, f"invalid safetensors file ({error})") from error


def _view_tensors(
    data: Any, header: dict[str, Any], start: int
) -> Iterator[tuple[str, Tensor | None]]:
    """Yield each tensor of the checked header, or None for one that is not aligned."""
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        dtype, shape = DTYPES[entry["dtype"]], entry["shape"]
        offset = start + entry["data_offsets"][0]
        if not prod(shape):
            yield name, torch.empty(shape, dtype=dtype)
        elif offset % dtype.itemsize:
            yield name, None
        else:
            flat = torch.frombuffer(data, dtype=dtype, count=prod(shape), offset=offset)
            yield name, flat.view(shape)


def check_header(path: Path) -> tuple[dict[str, Any], int]:
    """Parse the JSON header.

    A header that is too large or contains duplicate names is rejected. Characters that create
    objects are counted before any object is created. Returns the header, and the offset of the
    tensor data in bytes.
    """
    source = str(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        first = file.read(8)
        length = struct.unpack("<Q", first)[0] if len(first) == 8 else -1
        if not 0 < length <= size - 8:
            raise _error(source, "not a safetensors file (no header of the announced length)")
        if length > MAX_HEADER:
            raise _error(source, f"a header of {length} bytes, the limit is {MAX_HEADER}")
        raw = file.read(length)
    if any(raw.count(mark) > limit for mark, limit in MAX_MARKS.items()):
        raise _error(source, f"a header of more than {MAX_TENSORS} tensors")

    def reject_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
        if len({key for key, _ in pairs}) != len(pairs):
            raise _error(source, "a header with a duplicate name")
        return dict(pairs)

    try:
        header = json.loads(raw, object_pairs_hook=reject_duplicates)
    except (ValueError, RecursionError) as error:
        if isinstance(error, UnsafeWeightsError):
            raise
        raise _error(source, f"a header that is not valid JSON ({error})") from error
    if not isinstance(header, dict) or len(header) > MAX_TENSORS + 1:
        raise _error(source, f"a header that is not a table of at most {MAX_TENSORS} tensors")
    if any(len(name) > MAX_NAME for name in header):
        raise _error(source, f"a header with names of more than {MAX_NAME} characters")
    for name, entry in header.items():
        dtype = entry.get("dtype") if isinstance(entry, dict) else None
        if name != "__metadata__" and not (isinstance(dtype, str) and dtype in DTYPES):
            raise IncompatibleWeights(
                f"{source}: expected the dtype of tensor {shortened(repr(name))} to be one of "
                f"{', '.join(DTYPES)}; got {reprlib.repr(dtype)}; download the weights in half or "
                "single precision",
                source=source,
            )
    return header, 8 + length
