"""MATLAB files are read as SciPy reads them, and damaged ones are rejected."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from examples.paper.datasets import matlab
from examples.paper.datasets.matlab import mat
from zeroshot.errors import InputError

RANDOM = np.random.default_rng(0)
VALUES = np.array([[(n, f"{n:05d}.jpg") for n in range(1, 4)]], [("class", "O"), ("fname", "O")])
WANTED = {
    "annotations": VALUES,
    "class_names": np.array([["a", "b c"]], "O"),
    "labels": np.arange(9),
}


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    "value",
    [
        *(RANDOM.integers(0, 99, (3, 4)).astype(kind) for kind in ("u1", "i2", "u4", "i8", "f8")),
        RANDOM.normal(size=(2, 3, 4)).astype(np.float32),
        7,
        np.array([True, False]),
    ],
    ids=lambda value: f"{np.asarray(value).dtype}-{np.shape(value)}",
)
def test_numbers_are_those_of_scipy(tmp_path: Path, value: Any, compressed: bool) -> None:
    path = tmp_path / "a.mat"
    savemat(path, {"first": [1], "x": value}, do_compression=compressed)
    expected = loadmat(path, squeeze_me=True)["x"]

    (found,) = mat(path, "x")

    assert np.array_equal(found, expected)
    assert found.dtype == np.asarray(expected).dtype


@pytest.mark.parametrize("text", ["", "a", "AM General Hummer SUV 2000", "Stra\u00dfe \u732b"])
def test_text_is_str(tmp_path: Path, text: str) -> None:
    savemat(tmp_path / "a.mat", {"x": text})

    assert mat(tmp_path / "a.mat", "x") == [text]


def test_cells_and_structs_are_arrays_of_objects(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    savemat(path, WANTED | {"one": {"id": 3, "inner": {"name": "x"}}})

    annotations, names, one = mat(path, "annotations", "class_names", "one")

    assert names.tolist() == ["a", "b c"]
    assert [(int(row["class"]), row["fname"]) for row in annotations] == [
        (1, "00001.jpg"),
        (2, "00002.jpg"),
        (3, "00003.jpg"),
    ]
    assert one.item()["id"] == 3
    assert one.item()["inner"].item() == {"name": "x"}


def element(order: str, kind: int, content: bytes) -> bytes:
    return struct.pack(f"{order}2I", kind, len(content)) + content + bytes(-len(content) % 8)


def variable(order: str, number: int, shape: tuple[int, ...], rest: bytes) -> bytes:
    """Return the element of a variable `x` of a class."""
    head = element(order, 6, struct.pack(f"{order}2I", number, 0))
    head += element(order, 5, struct.pack(f"{order}{len(shape)}i", *shape))
    return element(order, 14, head + element(order, 1, b"x") + rest)


def file(order: str, *variables: bytes) -> bytes:
    mark = {"<": b"IM", ">": b"MI"}[order]
    return bytes(124) + struct.pack(f"{order}H", 0x0100) + mark + b"".join(variables)


@pytest.mark.parametrize("order", ["<", ">"])
def test_files_of_both_byte_orders_are_read(tmp_path: Path, order: str) -> None:
    numbers = element(order, 9, struct.pack(f"{order}2d", 0.5, -3))
    (tmp_path / "a.mat").write_bytes(file(order, variable(order, 6, (1, 2), numbers)))

    assert mat(tmp_path / "a.mat", "x")[0].tolist() == [0.5, -3]


def test_damaged_matlab_file_is_rejected_and_no_other_error_is_raised(tmp_path: Path) -> None:
    path, random, rejected = tmp_path / "a.mat", np.random.default_rng(0), []
    for compressed in (False, True):
        savemat(path, WANTED, do_compression=compressed)
        whole = path.read_bytes()
        for _ in range(600):
            content = bytearray(whole[: random.choice([len(whole), random.integers(len(whole))])])
            for place in random.integers(0, max(1, len(content)), 3):
                content[place : place + 1] = bytes([random.integers(256)])
            path.write_bytes(content)
            try:
                mat(path, *WANTED)
            except InputError as error:
                rejected.append(str(error))

    assert len(rejected) > 600
    assert all(str(path) in message and len(message) < 600 for message in rejected)


def nested(depth: int) -> bytes:
    inner = element("<", 14, b"")
    for _ in range(depth):
        inner = variable("<", 1, (1, 1), inner)
    return inner


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "no header of version 5"),
        (b"\x89HDF\r\n\x1a\n" + bytes(600), "no header of version 5"),
        (file("<", nested(9)), "more than 8 arrays in each other"),
        (file("<", variable("<", 1, (1 << 30, 1 << 30), b"")), "elements"),
        (file("<", variable("<", 6, (1, 2), element("<", 9, bytes(8)))), "cannot reshape"),
        (file("<", variable("<", 6 + 0x800, (1, 1), element("<", 9, bytes(8)))), "complex"),
        (file("<", variable("<", 5, (1, 1), b"")), "class 5, which is not supported"),
        (file("<", element("<", 15, zlib.compress(bytes(99))[:-1])), "truncated or too large"),
        (file("<", variable("<", 4, (2, 1), element("<", 1, b"ab"))), "expected text in a line"),
    ],
    ids=["empty", "HDF5", "deep", "huge", "short", "complex", "sparse", "zlib", "lines"],
)
def test_other_files_are_rejected(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "a.mat").write_bytes(content)

    with pytest.raises(InputError, match=f"expected a MATLAB file of version 5 .*{problem}"):
        mat(tmp_path / "a.mat", "x")


def test_compressed_variable_may_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matlab, "LARGEST", 10_000)
    savemat(tmp_path / "a.mat", {"x": np.zeros(9_000, np.uint8)}, do_compression=True)
    assert len(mat(tmp_path / "a.mat", "x")[0]) == 9_000
    savemat(tmp_path / "a.mat", {"x": np.zeros(11_000, np.uint8)}, do_compression=True)

    with pytest.raises(InputError, match="truncated or too large"):
        mat(tmp_path / "a.mat", "x")
