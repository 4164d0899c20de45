"""Named tensors and metadata from a safetensors file, its header capped before it is parsed."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from zeroshot.errors import UnsafeWeightsError

MAX_HEADER = 4 * 2**20  # bytes; 10,000 tensors need about one MB
MAX_TENSORS = 10_000


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the file's tensors, memory-mapped, and its metadata."""
    source = str(path)
    check_header(path)
    try:
        with safe_open(path, framework="pt") as file:
            # safetensors keeps the file mapped as long as a tensor lives
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, dict(file.metadata() or {})
    except (SafetensorError, RuntimeError, ValueError, TypeError) as error:
        raise _refuse(source, f"safetensors reports {error}") from error


def check_header(path: Path) -> dict[str, object]:
    """Parse the JSON header, refusing one that is oversized, crowded or says a thing twice."""
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
    return header


def _refuse(source: str, what: str) -> UnsafeWeightsError:
    return UnsafeWeightsError(
        f"{source}: {what}; the file is damaged or hostile, get it again from its publisher",
        source=source,
    )
