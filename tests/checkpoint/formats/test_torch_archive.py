"""Files of torch.save and torch.jit.save are read exactly, without torch's own reader or copies."""

from __future__ import annotations

import os
import resource
import struct
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import torch
from torch import nn

from tests.checkpoint import forms, hostile
from zeroshot.checkpoint.formats.torch_archive import read_archive
from zeroshot.errors import UnsafeWeightsError

TYPES = [
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.float64,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
]


def saved(content: Any, path: Path, form: str) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    return path


@pytest.mark.parametrize("form", ["zip", "legacy"])
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_every_dtype_is_read_exactly(form: str, dtype: torch.dtype, tmp_path: Path) -> None:
    base = torch.arange(24).reshape(2, 3, 4)
    content = {
        "whole": base.to(dtype),
        "turned": base.to(dtype).permute(2, 0, 1),
        "slice": base.to(dtype)[:, 1:, ::2],
        "scalar": torch.tensor(1).to(dtype),
        "empty": torch.zeros(0, 3, dtype=dtype),
    }

    found = read_archive(saved(content, tmp_path / "a.pt", form)).tensors

    assert list(found) == list(content)
    for name, tensor in content.items():
        assert found[name].dtype == dtype
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_nested_keys_become_dotted_tensor_names(form: str, tmp_path: Path) -> None:
    content = {
        "state_dict": OrderedDict(a=nn.Parameter(torch.ones(2))),
        "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}},  # numbers name nothing
        "more": [torch.ones(3)],
        "epoch": 3,
        "module": {"b": {"c": torch.ones(1)}},
    }

    found = read_archive(saved(content, tmp_path / "a.pt", form)).tensors

    assert list(found) == ["state_dict.a", "module.b.c"]


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_shared_storage_stays_shared(form: str, tmp_path: Path) -> None:
    base = torch.arange(8.0)

    found = read_archive(saved({"a": base, "b": base[4:]}, tmp_path / "a.pt", form)).tensors

    assert found["b"].data_ptr() == found["a"].data_ptr() + 16


def test_torchscript_parameters_and_buffers_are_read(tmp_path: Path) -> None:
    tensors = {"a.b.weight": torch.ones(2, 3).half(), "c": torch.tensor(224)}
    forms.save_torchscript(tensors, tmp_path / "a.pt")

    found = read_archive(tmp_path / "a.pt").tensors

    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


def test_reading_maps_the_file_without_copying(tmp_path: Path) -> None:
    size = 128 * 2**20
    torch.save({"a": torch.ones(size // 4)}, tmp_path / "a.pt")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    found = read_archive(tmp_path / "a.pt").tensors

    assert found["a"][0] == 1
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < size / 4


def test_writing_to_a_tensor_does_not_change_the_file(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(4)}, tmp_path / "a.pt")

    read_archive(tmp_path / "a.pt").tensors["a"].zero_()

    assert torch.equal(read_archive(tmp_path / "a.pt").tensors["a"], torch.ones(4))


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_big_endian_file_is_rejected(form: str, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    if form == "zip":
        extra = ("archive/byteorder", b"big"), ("archive/data/0", bytes(16))
        hostile.archive(path, hostile.program(hostile.GOOD), *extra)
    else:
        hostile.legacy(path, hostile.program(hostile.GOOD))
        little = b"little_endianq\x01\x88"
        assert little in path.read_bytes()
        path.write_bytes(path.read_bytes().replace(little, little[:-1] + b"\x89"))

    with pytest.raises(UnsafeWeightsError, match="big-endian"):
        read_archive(path)


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        (b"", "an empty file"),
        (b"hello", "not a safetensors file, a zip file"),
        (b"\x80\x02N.", "a bare pickle"),
    ],
)
def test_other_file_type_is_rejected_with_a_reason(raw: bytes, what: str, tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(raw)

    with pytest.raises(UnsafeWeightsError, match=what):
        read_archive(tmp_path / "a.pt")


def test_zip64_archive_larger_than_4_gib_is_read(tmp_path: Path) -> None:
    path = tmp_path / "large.pt"
    size = 2**32 + 2**20
    pickle = hostile.program(hostile.text("w"), hostile.tensor((1,), offset=(size - 4) // 4))
    with path.open("wb") as out:
        _write_zip64(out, pickle, size)

    found = read_archive(path).tensors

    assert found["w"].tolist() == [1.0]
    assert os.stat(path).st_blocks * 512 < 2**20


def _write_zip64(out: BinaryIO, pickle: bytes, size: int) -> None:
    """Write two members, the second too large for 32 bits, and a hole that takes no disk."""

    def local(name: bytes, length: int, extra: bytes) -> bytes:
        short = min(length, 2**32 - 1)
        return (
            struct.pack(
                "<4s5H3I2H", b"PK\x03\x04", 45, 0, 0, 0, 0, 0, short, short, len(name), len(extra)
            )
            + name
            + extra
        )

    def central(name: bytes, length: int, extra: bytes, header: int, crc: int) -> bytes:
        short = min(length, 2**32 - 1)
        return (
            struct.pack(
                "<4s6H3I5H2I", b"PK\x01\x02", 45, 45, 0, 0, 0, 0, crc, short, short,
                len(name), len(extra), 0, 0, 0, 0, header,
            )
            + name
            + extra
        )  # fmt: skip

    sizes = struct.pack("<2H2Q", 1, 16, size, size)
    out.write(local(b"a/data.pkl", len(pickle), b"") + pickle)
    second = out.tell()
    padding = struct.pack("<2H", 0x4246, 2) + b"ZZ"  # as torch pads, so that storages are aligned
    out.write(local(b"a/data/0", size, sizes + padding))
    out.seek(size - 4, 1)
    out.write(struct.pack("<f", 1.0))
    start = out.tell()
    directory = central(b"a/data.pkl", len(pickle), b"", 0, zlib.crc32(pickle))
    directory += central(b"a/data/0", size, sizes, second, 0)
    out.write(directory)
    end = start + len(directory)
    record = struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 2, 2, len(directory), start)
    out.write(b"PK\x06\x06" + record)
    out.write(b"PK\x06\x07" + struct.pack("<IQI", 0, end, 1))
    out.write(b"PK\x05\x06" + struct.pack("<4H2IH", 0, 0, 2, 2, len(directory), 2**32 - 1, 0))
