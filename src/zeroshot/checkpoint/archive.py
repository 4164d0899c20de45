"""Named tensors from files written by torch.save or torch.jit.save, without running any of it.

Three containers: the zip of today's torch.save, the TorchScript zip of OpenAI's releases, and the
stream of pickles that torch wrote before 1.6. The pickles are read by `pickles.Interpreter`,
which calls nothing; tensors are views of the memory-mapped file.
"""

from __future__ import annotations

import mmap
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zeroshot.checkpoint.pickles import Call, Global, Interpreter, Record, Reference
from zeroshot.errors import UnsafeWeightsError

MAX_PICKLE = 64 * 2**20  # bytes; the largest published CLIP needs well under one MB
MAX_TENSORS = 10_000
MAX_DEPTH = 64  # modules within modules
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # first pickle of a file before torch 1.6

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


@dataclass(frozen=True)
class Archive:
    """What a torch file holds: tensors by dotted name, and whether it is a TorchScript archive."""

    tensors: dict[str, Tensor]
    torchscript: bool


@dataclass(frozen=True)
class _Span:
    """Where a storage's bytes lie in the file."""

    offset: int
    size: int


def read_archive(path: Path) -> Archive:
    """Read a `.pt`, `.pth` or `.bin` file.

    Raises UnsafeWeightsError when it is none of the three containers, or lies about itself.
    """
    source = str(path)
    try:
        with path.open("rb") as file:
            # copy-on-write: torch wants writable memory; the file itself stays as it is
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    except ValueError as error:
        raise UnsafeWeightsError(f"{source}: the file is empty; get it again", source=source) from (
            error
        )
    if data[:4] == b"PK\x03\x04":
        return _read_zip(path, data)
    return Archive(_read_legacy(source, data), torchscript=False)


def _refuse(source: str, what: str) -> UnsafeWeightsError:
    return UnsafeWeightsError(
        f"{source}: {what}; the file is damaged or hostile, get it again from its publisher",
        source=source,
    )


def _read_zip(path: Path, data: mmap.mmap) -> Archive:
    source = str(path)
    members = _members(path, data)
    folders = {name.removesuffix("/data.pkl") for name in members if name.endswith("/data.pkl")}
    if len(folders) != 1:
        raise _refuse(source, "a zip file without exactly one data.pkl, so not written by torch")
    folder = folders.pop()
    order = members.get(f"{folder}/byteorder")
    if order and data[order.offset : order.offset + order.size] != b"little":
        raise _refuse(source, "tensors stored in big-endian order, which is not supported")
    span = members[f"{folder}/data.pkl"]
    if span.size > MAX_PICKLE:
        raise _refuse(source, f"a pickle of {span.size} bytes")
    with memoryview(data)[span.offset : span.offset + span.size] as pickle:
        root = Interpreter(pickle, 0, source).run()
    prefix = f"{folder}/data/"
    storages = {name.removeprefix(prefix): s for name, s in members.items() if prefix in name}
    torchscript = f"{folder}/constants.pkl" in members
    return Archive(_tensors(root, _Loader(source, data, storages)), torchscript)


def _members(path: Path, data: mmap.mmap) -> dict[str, _Span]:
    """Return where each member's bytes lie; only stored, unencrypted, disjoint members pass."""
    source = str(path)
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error, OSError) as error:
        raise _refuse(source, f"a broken zip file ({error})") from error
    spans: dict[str, _Span] = {}
    for info in infos:
        if "/code/" in info.filename:
            continue  # TorchScript source, compressed; never read
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 0x1:
            raise _refuse(source, f"member {info.filename!r} is compressed or encrypted")
        header = info.header_offset
        if header < 0 or header + 30 > len(data) or data[header : header + 4] != b"PK\x03\x04":
            raise _refuse(source, f"member {info.filename!r} has no header where it should be")
        name_size, extra_size = struct.unpack("<HH", data[header + 26 : header + 30])
        span = _Span(header + 30 + name_size + extra_size, info.file_size)
        if info.file_size != info.compress_size or span.offset + span.size > len(data):
            raise _refuse(source, f"member {info.filename!r} reaches past the end of the file")
        if info.filename in spans:
            raise _refuse(source, f"member {info.filename!r} appears twice")
        spans[info.filename] = span
    end = 0
    for span in sorted(spans.values(), key=lambda span: span.offset):
        if span.offset < end:
            raise _refuse(source, "members overlap")
        end = span.offset + span.size
    return spans


def _read_legacy(source: str, data: mmap.mmap) -> dict[str, Tensor]:
    with memoryview(data) as view:
        magic = Interpreter(view, 0, source)
        if data[:1] != b"\x80" or magic.run() != LEGACY_MAGIC:
            raise _refuse(source, "neither safetensors, nor a zip, nor a file of torch.save")
        version = Interpreter(view, magic.position, source)
        version.run()
        system = Interpreter(view, version.position, source)
        about = system.run()
        if isinstance(about, dict) and about.get("little_endian") is False:
            raise _refuse(source, "tensors stored in big-endian order, which is not supported")
        content = Interpreter(view, system.position, source)
        root = content.run()
        listing = Interpreter(view, content.position, source)
        keys = listing.run()
        position = listing.position
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise _refuse(source, "no list of storages")
    sizes = {storage.key: storage.itemsize for storage in _storages(root)}
    spans: dict[str, _Span] = {}
    for key in keys:
        if position + 8 > len(data):
            raise _refuse(source, f"storage {key!r} is missing")
        (count,) = struct.unpack("<q", data[position : position + 8])
        size = count * sizes.get(key, 0)
        if count < 0 or key not in sizes or position + 8 + size > len(data):
            raise _refuse(source, f"storage {key!r} reaches past the end of the file")
        spans[key] = _Span(position + 8, size)
        position += 8 + size
    return _tensors(root, _Loader(source, data, spans))


@dataclass(frozen=True)
class _Storage:
    """A storage as a pickle refers to it: ("storage", torch.HalfStorage, "0", "cpu", 768)."""

    dtype: torch.dtype
    key: str

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize


def _storage(value: Any) -> _Storage | None:
    match value:
        case Reference(value=("storage", Global(module="torch", name=name), str(key), *_)):
            dtype = STORAGES.get(name)
            return None if dtype is None else _Storage(dtype, key)
    return None


def _children(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield named parts of a value: dict entries and module attributes."""
    if isinstance(value, Call):
        match value:
            case Call(function=Global(module="collections", name="OrderedDict")):
                yield from _children(value.items)
    elif isinstance(value, Record):
        yield from _children(value.state)
    elif isinstance(value, dict):
        for key, part in value.items():
            if isinstance(key, str):
                yield key, part


def _leaves(root: Any, source: str) -> Iterator[tuple[str, Any]]:
    """Yield (dotted name, value) of everything below root, each container once."""
    seen: set[int] = set()
    stack: list[tuple[str, Any, int]] = [("", root, 0)]
    while stack:
        name, value, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise _refuse(source, f"more than {MAX_DEPTH} levels of nesting")
        parts = list(_children(value))
        if not parts:
            yield name, value
            continue
        if id(value) in seen:
            continue
        seen.add(id(value))
        stack += [(f"{name}.{key}" if name else key, part, depth + 1) for key, part in parts]


def _storages(root: Any) -> Iterator[_Storage]:
    for _, value in _leaves(root, ""):
        if (description := _description(value)) and (storage := _storage(description[0])):
            yield storage


def _description(value: Any) -> tuple[Any, ...] | None:
    """Return storage, offset, shape, strides when the value is a tensor or a parameter of one."""
    match value:
        case Call(
            function=Global(module="torch._utils", name="_rebuild_parameter"),
            arguments=(inner, *_),
        ):
            return _description(inner)
        case Call(
            function=Global(module="torch._utils", name="_rebuild_tensor_v2" | "_rebuild_tensor"),
            arguments=(storage, offset, shape, strides, *_),
        ):
            return storage, offset, shape, strides
    return None


@dataclass(frozen=True)
class _Loader:
    """Makes tensors over the mapped file."""

    source: str
    data: mmap.mmap
    spans: dict[str, _Span]

    def tensor(self, name: str, description: tuple[Any, ...]) -> Tensor:
        reference, offset, shape, strides = description
        storage = _storage(reference)
        if storage is None:
            raise _refuse(self.source, f"tensor {name!r} has a storage of unknown kind")
        sizes = (offset, *_numbers(shape), *_numbers(strides))
        if len(_numbers(shape)) != len(_numbers(strides)) or not all(
            type(n) is int and 0 <= n < 2**40 for n in sizes
        ):
            raise _refuse(self.source, f"tensor {name!r} has no proper shape")
        span = self.spans.get(storage.key)
        if span is None:
            raise _refuse(self.source, f"tensor {name!r} names a storage that is not there")
        reach = offset + 1 + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
        empty = 0 in shape
        if not empty and reach * storage.itemsize > span.size:
            raise _refuse(self.source, f"tensor {name!r} reaches past its storage")
        if not empty and _product(shape) * storage.itemsize > span.size:
            raise _refuse(self.source, f"tensor {name!r} is larger than its storage")
        if empty:
            return torch.empty(tuple(shape), dtype=storage.dtype)
        count = span.size // storage.itemsize
        if span.offset % storage.itemsize:  # the old format aligns nothing
            raw = bytearray(self.data[span.offset : span.offset + span.size])
            flat = torch.frombuffer(raw, dtype=storage.dtype, count=count)
        else:
            flat = torch.frombuffer(self.data, dtype=storage.dtype, count=count, offset=span.offset)
        return flat.as_strided(tuple(shape), tuple(strides), offset)


def _numbers(shape: Any) -> tuple[Any, ...]:
    return shape if isinstance(shape, tuple) else ()


def _product(shape: tuple[int, ...]) -> int:
    product = 1
    for n in shape:
        product *= n
    return product


def _tensors(root: Any, loader: _Loader) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for name, value in _leaves(root, loader.source):
        if (description := _description(value)) is None:
            continue
        if len(tensors) >= MAX_TENSORS:
            raise _refuse(loader.source, f"more than {MAX_TENSORS} tensors")
        tensors[name] = loader.tensor(name, description)
    if not tensors:
        raise _refuse(loader.source, "no tensors in it")
    return tensors
