"""Named tensors and metadata from a safetensors file, its header capped before it is parsed."""

from __future__ import annotations

import json
import reprlib
import struct
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from zeroshot.checkpoint.zips import refusal as _refuse
from zeroshot.errors import IncompatibleWeights

MAX_HEADER = 4 * 2**20  # bytes; 10,000 tensors need about one MB
MAX_TENSORS = 10_000
MAX_NAME = 512  # letters
MAX_MARKS = {b"{": MAX_TENSORS + 100, b"[": 2 * MAX_TENSORS + 100, b",": 20 * MAX_TENSORS}
DTYPES = ("F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL")


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the file's tensors, memory-mapped, and its metadata.

    The safetensors library refuses tensors that overlap, leave holes or reach past the end.
    """
    source = str(path)
    check_header(path)
    try:
        with safe_open(path, framework="pt") as file:
            # safetensors keeps the file mapped as long as a tensor lives
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, dict(file.metadata() or {})
    except (SafetensorError, RuntimeError, ValueError, TypeError, OverflowError) as error:
        raise _refuse(source, f"safetensors reports {error}") from error


def check_header(path: Path) -> dict[str, object]:
    """Parse the JSON header, refusing one that is oversized, crowded or says a thing twice.

    What would make many small objects is counted before any is made.
    """
    source = str(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        first = file.read(8)
        length = struct.unpack("<Q", first)[0] if len(first) == 8 else -1
        if not 0 < length <= size - 8:
            raise _refuse(source, "not a safetensors file (no header of the announced length)")
        if length > MAX_HEADER:
            raise _refuse(source, f"a header of {length} bytes, the limit is {MAX_HEADER}")
        raw = file.read(length)
    if any(raw.count(mark) > limit for mark, limit in MAX_MARKS.items()):
        raise _refuse(source, f"a header of more than {MAX_TENSORS} tensors")

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        if len({key for key, _ in pairs}) != len(pairs):
            raise _refuse(source, "a header that names something twice")
        return dict(pairs)

    try:
        header = json.loads(raw, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise _refuse(source, f"a header that is not JSON ({error})") from error
    if not isinstance(header, dict) or len(header) > MAX_TENSORS + 1:
        raise _refuse(source, f"a header that is not a table of at most {MAX_TENSORS} tensors")
    if any(len(name) > MAX_NAME for name in header):
        raise _refuse(source, f"a header with names of more than {MAX_NAME} letters")
    for name, entry in header.items():
        dtype = entry.get("dtype") if isinstance(entry, dict) else None
        if name != "__metadata__" and dtype not in DTYPES:
            raise IncompatibleWeights(
                f"{source}: tensor {name!r} holds {reprlib.repr(dtype)}, wanted one of "
                f"{', '.join(DTYPES)}; "
                "get the weights in half or single precision",
                source=source,
            )
    return header
