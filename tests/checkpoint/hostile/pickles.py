"""Pickles with false tensor descriptions, and small pickles that become large objects."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from tests.checkpoint.hostile.base import (
    GOOD,
    PROTO,
    Case,
    archive,
    legacy,
    name,
    numbers,
    program,
    tensor,
    text,
    together,
    whole,
)


def lying() -> Iterator[Case]:
    tensors = {
        "past-the-storage": tensor((5,)),
        "offset-past-the-storage": tensor(offset=1),
        "stride-past-the-storage": tensor((2,), (4,)),
        "negative-stride": tensor((2,), (-1,)),
        "negative-shape": tensor((-4,)),
        "negative-offset": tensor(offset=-4),
        "huge-shape": tensor((2**62, 2**62), (1, 1)),
        "huge-stride": tensor((2,), (2**62,)),
        "huge-empty-shape": tensor((0, 2**39, 2**39), (1, 1, 1)),
        "number-of-64-bytes": tensor((2**500,)),
        "expanded-by-stride-0": tensor((2**30,), (0,)),
        "more-strides-than-sides": tensor((4,), (1, 1)),
        "a-hundred-sides": tensor((1,) * 100, (1,) * 100),
        "true-as-shape": tensor().replace(numbers(4), together(b"\x88")),
        "float-as-shape": tensor().replace(numbers(4), together(b"G" + struct.pack(">d", 4.0))),
        "list-as-shape": tensor().replace(numbers(4), b"]" + whole(4) + b"a"),
        "unknown-storage": tensor(kind="QInt8Storage"),
        "storage-that-is-not-there": tensor(key="7"),
        "storage-outside": tensor(key="../../../etc/passwd"),
        "wider-type-than-stored": tensor(kind="DoubleStorage"),
        "storage-is-no-reference": tensor().replace(b"Q", b"\x85"),
        "parameter-of-a-parameter": name("torch._utils", "_rebuild_parameter") * 2000
        + tensor()
        + (b"\x85R") * 2000,
    }  # fmt: skip
    for what, content in tensors.items():

        def lie(path: Path, _: Path, content: bytes = content) -> None:
            archive(path, program(text("w"), content))

        yield Case(f"tensor-{what}", ".pt", lie)


def swelling() -> Iterator[Case]:
    million = 1_000_000
    programs = {
        "dicts": b"}" * million,
        "memoized-dicts": b"}\x94" * (million // 2),
        "lists": b"]" * million,
        "lists-of-one": b"]Na" * (million // 3),
        "dicts-of-one": b"}" + (text("k") + b"}" + text("k") + b"Ns" + b"s") * 40_000,
        "calls": b")" + b"2)R" * (million // 3),
        "records": b")" + b")2\x81" * (million // 3),
        "globals": b"c\n\n" * (million // 3),
        "references": b"N" + b"2Q" * (million // 2),
        "nested-tuples": b")" + b"\x85" * 390_000 + b"." ,
        "nested-references": b"N" + b"Q" * 390_000 + b".",
        "nested-calls": b"N" + b")R" * 199_000 + b".",
        "nested-records": b"N" + b")\x81" * 199_000 + b".",
        "nested-lists": b"]" + b"]2a" * 100_000 + b".",
        "memo-key-huge": b"Np99999999999999999999\n.",
        "memo-key-negative": b"Np-1\n.",
        "memo-keys-that-collide": b"N"
        + b"".join(f"p{k * (2**61 - 1)}\n".encode() for k in range(1, 30_000)) + b".",
        "memo-keys-far-apart": b"N" + b"".join(
            b"r" + struct.pack("<I", k * 2**12) for k in range(1, 90_000)) + b".",
        "keys-that-collide": b"}" + b"".join(
            whole(k * (2**61 - 1)) + b"Ns" for k in range(1, 60_000)) + b".",
        "unhashable-keys": b"}" + b"]Ns" * 1000 + b".",
        "list-in-itself": b"]q\x00h\x00a.",
        "dict-in-itself": b"}q\x00" + text("a") + b"h\x00s.",
        "record-in-itself": b"c\n\n)\x81q\x00h\x00b.",
        "text-of-an-exabyte": b"\x8d" + struct.pack("<Q", 2**60),
        "bytearray-of-a-terabyte": b"\x96" + struct.pack("<Q", 2**40),
        "text-of-minus-one": b"T" + struct.pack("<i", -1),
        "integer-of-two-gigabytes": b"\x8b" + struct.pack("<i", 2**31 - 1),
        "integer-of-minus-one": b"\x8b" + struct.pack("<i", -1),
        "decimal-of-a-million-digits": b"I" + b"9" * million + b"\n.",
        "decimal-of-4000-digits": b"L" + b"9" * 4000 + b"L\n.",
        "wide-text": (b"X" + struct.pack("<I", 4000) + "😀".encode() + b"x" * 3996) * 1000 + b".",
        "line-without-end": b"S" + b"'" * 5000,
        "marks-only": b"(" * million,
        "pops-of-nothing": b"000.",
        "marks-and-pops": b"(1" * 500_000,
        "no-stop": b"N" * 1000,
        "no-mark": b"t.",
        "stop-at-once": b".",
        "unknown-opcode": b"\xff.",
        "not-utf8": b"X" + struct.pack("<I", 2) + b"\xff\xfe" + b".",
        "deeper-than-64": (b"}" + text("a")) * 100 + tensor() + b"s" * 100 + b".",
        "names-of-4000-letters": b"}" + text("n" * 4000) + tensor() + b"s.",
        "names-that-add-up": (b"}" + text("n" * 250)) * 60 + tensor() + b"s" * 60 + b".",
        "ten-thousand-names-of-one": b"}(" + text("w0") + tensor() + b"q\x00"
        + b"".join(text(f"w{n}") + b"h\x00" for n in range(1, 12_000)) + b"u.",
        "empty-dict": b"}.",
        "none": b"N.",
    }  # fmt: skip
    for what, content in programs.items():

        def swell(path: Path, _: Path, content: bytes = content) -> None:
            archive(path, PROTO + content)

        yield Case(f"pickle-{what}", ".pt", swell)
    for what in ("memoized-dicts", "calls", "nested-records", "wide-text", "line-without-end"):

        def old(path: Path, _: Path, content: bytes = programs[what]) -> None:
            legacy(path, PROTO + content)

        yield Case(f"legacy-{what}", ".bin", old)
    yield from shared_and_split()


def shared_and_split() -> Iterator[Case]:
    megabyte = 2**20

    def shared(path: Path, _: Path) -> None:
        wide = tensor((megabyte,), numel=megabyte)
        views = b"".join(text(f"w{n}") + wide for n in range(500))
        archive(path, program(views), ("archive/data/0", bytes(4 * megabyte)))

    def shared_askew(path: Path, _: Path) -> None:
        wide = tensor((megabyte,), numel=megabyte)
        views = b"".join(text(f"w{n}") + wide for n in range(500))
        rest = struct.pack("<q", megabyte) + bytes(4 * megabyte)
        legacy(path, PROTO + b"\x8c\x01x0" + program(views)[2:], rest=rest)

    yield Case("storage-shared-by-500-tensors", ".pt", shared)
    yield Case("legacy-storage-shared-by-500-tensors", ".bin", shared_askew)
    rests = {
        "cut": struct.pack("<q", 4) + bytes(15),
        "missing": b"",
        "count-negative": struct.pack("<q", -4) + bytes(16),
        "count-huge": struct.pack("<q", 2**62) + bytes(16),
    }
    for what, rest in rests.items():

        def storage(path: Path, _: Path, rest: bytes = rest) -> None:
            legacy(path, program(GOOD), rest=rest or b"\0")

        yield Case(f"legacy-storage-{what}", ".bin", storage)

    def twice(path: Path, _: Path) -> None:
        legacy(path, program(GOOD), ("0", "0"))

    def unused(path: Path, _: Path) -> None:
        legacy(path, program(GOOD), ("0", "1"))

    yield Case("legacy-storage-listed-twice", ".bin", twice)
    yield Case("legacy-storage-of-no-tensor", ".bin", unused)
