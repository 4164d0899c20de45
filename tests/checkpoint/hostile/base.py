"""What a hostile case is, and the parts that several kinds of files share."""

from __future__ import annotations

import io
import json
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

Write = Callable[[Path, Path], None]  # the file to write, the canary to threaten


@dataclass(frozen=True)
class Case:
    """A hostile file; `harmless` if its tensors are read and the bad part is not."""

    name: str
    suffix: str
    write: Write
    harmless: bool = False


PROTO, STOP, REDUCE, BUILD, MARK = b"\x80\x02", b".", b"R", b"b", b"("
LEGACY = 0x1950A86A20F9469CFC6C


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def whole(number: int) -> bytes:
    size = number.bit_length() // 8 + 1
    return b"\x8a" + bytes([size]) + number.to_bytes(size, "little", signed=True)


def name(module: str, attribute: str) -> bytes:
    return b"c" + f"{module}\n{attribute}\n".encode()


def together(*parts: bytes) -> bytes:
    return MARK + b"".join(parts) + b"t"


def numbers(*values: int) -> bytes:
    return together(*map(whole, values))


def tensor(
    shape: tuple[int, ...] = (4,),
    strides: tuple[int, ...] = (1,),
    offset: int = 0,
    key: str = "0",
    kind: str = "FloatStorage",
    numel: int = 4,
    hooks: bytes = name("collections", "OrderedDict") + b")R",
) -> bytes:
    storage = together(text("storage"), name("torch", kind), text(key), text("cpu"), whole(numel))
    arguments = together(
        storage + b"Q", whole(offset), numbers(*shape), numbers(*strides), b"\x89", hooks
    )
    return name("torch._utils", "_rebuild_tensor_v2") + arguments + REDUCE


def mapping(*pairs: bytes) -> bytes:
    return b"}" + MARK + b"".join(pairs) + b"u"


GOOD = text("w") + tensor()


def program(*pairs: bytes) -> bytes:
    return PROTO + mapping(*pairs) + STOP


def archive(path: Path, content: bytes, *more: tuple[str, bytes], deflate: bool = False) -> None:
    """Write what torch.save writes: a zip of stored members."""
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as file:
        warnings.simplefilter("ignore")  # of names that come twice
        kind = zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED
        file.writestr("archive/data.pkl", content, kind)
        for member, raw in more or (("archive/data/0", bytes(16)),):
            file.writestr(member, raw)


def legacy(path: Path, content: bytes, keys: tuple[str, ...] = ("0",), rest: bytes = b"") -> None:
    """Write what torch.save wrote before 1.6: five pickles, then the storages."""
    head = b"".join(pickle.dumps(x, 2) for x in (LEGACY, 1001, {"little_endian": True}))
    storages = rest or b"".join(struct.pack("<q", 4) + bytes(16) for _ in keys)
    path.write_bytes(head + content + pickle.dumps(list(keys), 2) + storages)


def safetensors(path: Path, header: bytes | dict[str, object], data: bytes = bytes(16)) -> None:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + data)


def good_zip() -> bytes:
    buffer = io.BytesIO()
    torch.save({"w": torch.ones(4), "x": torch.zeros(2, 3).half()}, buffer)
    return buffer.getvalue()


def plain_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("a/data.pkl", program(GOOD))
        file.writestr("a/data/0", bytes(16))
    return buffer.getvalue()


def good_legacy() -> bytes:
    buffer = io.BytesIO()
    content = {"w": torch.ones(4), "x": torch.zeros(2, 3).half()}
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def good_safetensors() -> bytes:
    header = {
        "__metadata__": {"format": "pt"},
        "w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]},
        "x": {"dtype": "F16", "shape": [2, 3], "data_offsets": [16, 28]},
    }
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + bytes(28)


GOOD_FILES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "zip": (".pt", good_zip),
    "legacy": (".bin", good_legacy),
    "safetensors": (".safetensors", good_safetensors),
}
