"""Read named tensors of torch.save and torch.jit.save files without running them.

There are three containers: the zip of current torch.save, the TorchScript zip of OpenAI's releases,
and the stream of pickles that torch wrote before 1.6. `pickles.Interpreter` reads the pickles and
calls nothing; tensors are views of the memory-mapped file.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zeroshot.checkpoint.formats import zips
from zeroshot.checkpoint.formats.mapping import Content, map_file
from zeroshot.checkpoint.formats.pickles import (
    MAX_OPCODES,
    MAX_PICKLE,
    Call,
    Global,
    Interpreter,
    Record,
    Reference,
)
from zeroshot.checkpoint.formats.zips import Span
from zeroshot.checkpoint.formats.zips import unsafe_error as _error
from zeroshot.errors import shortened

MAX_TENSORS = 10_000
MAX_DEPTH = 64  # modules within modules
MAX_NAME = 256  # characters
MAX_DIMENSIONS = 8  # of a tensor
MAX_SHARING = 2  # limit for the size of all tensors, in multiples of the file size
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # first pickle of a file before torch 1.6
LEGACY_SMALL = 100  # opcodes of the pickles that describe the file
LEGACY_KEYS = 4 * MAX_TENSORS  # opcodes of the list of storages

STORAGES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


def read_archive(path: Path) -> Content:
    """Read the tensors of a `.pt`, `.pth` or `.bin` file, memory-mapped.

    Raises UnsafeWeightsError if it is none of the three containers, or inconsistent.
    """
    source = str(path)
    if not path.stat().st_size:
        raise _error(source, "an empty file")
    data = map_file(path)
    with memoryview(data) as view:
        read_container = _read_zip if data[:4] == b"PK\x03\x04" else _read_legacy
        root, spans = read_container(source, view)
    return Content(_tensors(root, _Loader(path, data, spans)), maps=(data,))


def _read_zip(source: str, data: memoryview) -> tuple[Any, dict[str, Span]]:
    members = zips.members(data, source)
    folders = {name.removesuffix("/data.pkl") for name in members if name.endswith("/data.pkl")}
    if len(folders) != 1:
        raise _error(source, "expected a zip file with one data.pkl, as torch writes it")
    folder = folders.pop()
    order = members.get(f"{folder}/byteorder")
    if order and bytes(data[order.offset : order.offset + 6]) != b"little":
        raise _error(source, "tensors stored in big-endian order, which is not supported")
    span = members[f"{folder}/data.pkl"]
    if not span.stored or span.size > MAX_PICKLE:
        raise _error(source, f"a pickle that is compressed or larger than {MAX_PICKLE} bytes")
    root = Interpreter(data[span.offset : span.offset + span.size], 0, source).run()
    prefix = f"{folder}/data/"
    storages = {
        name.removeprefix(prefix): span
        for name, span in members.items()
        if name.startswith(prefix) and span.stored
    }
    return root, storages


def _read_legacy(source: str, data: memoryview) -> tuple[Any, dict[str, Span]]:
    """Read a file written before torch 1.6.

    It contains five pickles (magic, version, machine, content, list of storages), then the
    storages.
    """
    if data[0] != 0x80:
        raise _error(source, "not a safetensors file, a zip file or a file of torch.save")
    position = 0
    references: list[Reference] = []

    def pickle(opcodes: int) -> Any:
        nonlocal position
        interpreter = Interpreter(data, position, source, opcodes)
        value, position = interpreter.run(), interpreter.position
        references.extend(interpreter.references)
        return value

    if pickle(LEGACY_SMALL) != LEGACY_MAGIC:
        raise _error(source, "a bare pickle, not a file of torch.save")
    pickle(LEGACY_SMALL)
    machine = pickle(LEGACY_SMALL)
    if isinstance(machine, dict) and machine.get("little_endian") is False:
        raise _error(source, "tensors stored in big-endian order, which is not supported")
    root = pickle(MAX_OPCODES)
    keys = pickle(LEGACY_KEYS)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise _error(source, "the list of storages is missing")
    storages = filter(None, map(_storage, references))  # also of tensors without a name
    widths = {storage.key: storage.dtype.itemsize for storage in storages}
    spans: dict[str, Span] = {}
    for key in keys:
        if position + 8 > len(data) or key not in widths or key in spans:
            raise _error(source, f"storage {key[:99]!r} is missing, a duplicate or unused")
        (count,) = struct.unpack("<q", data[position : position + 8])
        span = Span(position + 8, count * widths[key])
        position = span.offset + span.size
        if count < 0 or position > len(data):
            raise _error(source, "a storage that extends past the end of the file")
        spans[key] = span
    return root, spans


@dataclass(frozen=True)
class _Storage:
    """A storage as a pickle refers to it.

    Example: ("storage", torch.HalfStorage, "0", "cpu", 768).
    """

    dtype: torch.dtype
    key: str


def _storage(value: Any) -> _Storage | None:
    match value:
        case Reference(value=("storage", Global(module="torch", name=name), str(key), *_)):
            dtype = STORAGES.get(name)
            return None if dtype is None else _Storage(dtype, key)
    return None


def _children(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the named parts of a value: dict entries and module attributes."""
    for _ in range(MAX_DEPTH):  # a malicious record may be its own state
        if not isinstance(value, Record):
            break
        value = value.state
    match value:
        case Call(function=Global(module="collections", name="OrderedDict")):
            value = value.items
    if isinstance(value, dict):
        yield from value.items()


def _leaves(root: Any, source: str) -> Iterator[tuple[str, Any]]:
    """Yield (dotted name, value) of everything below root, in order.

    Each container is visited once. Names are built during the traversal and not stored: a file
    could make them large and many.
    """
    seen: set[int] = set()
    levels = [("", iter([("", root)]))]
    while levels:
        above, rest = levels[-1]
        key, value = next(rest, (None, None))
        if key is None:
            levels.pop()
            continue
        name = f"{above}.{key}" if above else key
        if len(name) > MAX_NAME or len(levels) > MAX_DEPTH:
            raise _error(source, f"names of more than {MAX_NAME} characters or {MAX_DEPTH} levels")
        parts = _children(value)
        first = next(parts, None)
        if first is None:
            yield name, value
        elif id(value) not in seen:
            seen.add(id(value))
            levels.append((name, chain([first], parts)))


def _describe(value: Any) -> tuple[Any, ...] | None:
    """Return storage, offset, shape and strides of a tensor or parameter.

    Returns None for other values.
    """
    match value:
        case Call(
            function=Global(module="torch._utils", name="_rebuild_parameter"),
            arguments=(inner, *_),
        ):
            value = inner
    match value:
        case Call(
            function=Global(module="torch._utils", name="_rebuild_tensor_v2" | "_rebuild_tensor"),
            arguments=(storage, offset, shape, strides, *_),
        ):
            return storage, offset, shape, strides
    return None


@dataclass(frozen=True)
class _Loader:
    """Create tensors as views of the mapped file."""

    path: Path
    data: mmap.mmap
    spans: dict[str, Span]
    copies: dict[str, bytearray] = field(default_factory=dict)  # of unaligned storages

    def tensor(self, name: str, description: tuple[Any, ...]) -> Tensor:
        """Create one tensor after checking its description."""
        reference, offset, shape, strides = description
        source, storage = str(self.path), _storage(reference)
        if storage is None:
            raise _error(source, f"tensor {shortened(name)!r} has a storage of unknown type")
        if not _is_valid(offset, shape, strides):
            raise _error(source, f"tensor {shortened(name)!r} has an invalid shape")
        span, width = self.spans.get(storage.key), storage.dtype.itemsize
        if span is None:
            raise _error(source, f"tensor {shortened(name)!r} has a missing storage")
        if 0 in shape:
            return torch.empty(shape, dtype=storage.dtype)
        reach = offset + 1 + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
        if max(reach, prod(shape)) * width > span.size:
            raise _error(source, f"tensor {shortened(name)!r} extends past its storage")
        flat = self._flat(storage, span)
        return flat.as_strided(shape, strides, offset)

    def _flat(self, storage: _Storage, span: Span) -> Tensor:
        count = span.size // storage.dtype.itemsize
        if span.offset % storage.dtype.itemsize == 0:
            return torch.frombuffer(self.data, dtype=storage.dtype, count=count, offset=span.offset)
        # The legacy format has no alignment. The bytes are read from the file, not copied from the
        # map, whose pages would count as memory too.
        copy = self.copies.get(storage.key)
        if copy is None:
            copy = self.copies[storage.key] = bytearray(span.size)
            with self.path.open("rb") as file:
                file.seek(span.offset)
                file.readinto(copy)
        return torch.frombuffer(copy, dtype=storage.dtype, count=count)


def _is_valid(offset: Any, shape: Any, strides: Any) -> bool:
    """Return whether these are integers in range, with one stride per dimension."""
    return (
        isinstance(shape, tuple)
        and isinstance(strides, tuple)
        and len(shape) == len(strides) <= MAX_DIMENSIONS
        and all(type(n) is int and 0 <= n < 2**40 for n in (offset, *shape, *strides))
        and prod(n for n in shape if n) < 2**48
    )


def _tensors(root: Any, loader: _Loader) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    remaining = MAX_SHARING * len(loader.data)
    for name, value in _leaves(root, str(loader.path)):
        if (description := _describe(value)) is None:
            continue
        tensor = tensors[name] = loader.tensor(name, description)
        remaining -= tensor.nbytes
        if len(tensors) > MAX_TENSORS or remaining < 0:
            raise _error(
                str(loader.path),
                f"more than {MAX_TENSORS} tensors, or tensors larger than the file",
            )
    if not tensors:
        raise _error(str(loader.path), "the file contains no tensors")
    return tensors
