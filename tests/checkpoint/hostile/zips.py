"""Zip files whose directory or members contradict themselves."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

from tests.checkpoint.hostile.base import (
    GOOD,
    PROTO,
    STOP,
    Case,
    archive,
    good_zip,
    plain_zip,
    program,
    tensor,
    text,
)


def at(raw: bytes, place: int, layout: str, value: int) -> bytes:
    piece = struct.pack(layout, value)
    place %= len(raw)
    return raw[:place] + piece + raw[place + len(piece) :]


def zips() -> Iterator[Case]:
    raw = plain_zip()
    directory = raw.index(b"PK\x01\x02")
    second = raw.index(b"PK\x01\x02", directory + 4)
    end = raw.index(b"PK\x05\x06")
    local = raw.index(b"PK\x03\x04", 4)
    modern = good_zip()
    locator = modern.index(b"PK\x06\x07")
    record = modern.index(b"PK\x06\x06")
    contents = {
        "prefix": b"#!/bin/sh\n" + raw,
        "trailing-bytes": raw + b"\0",
        "comment": at(raw, -2, "<H", 3) + b"abc",
        "comment-with-a-directory": at(raw, -2, "<H", 22) + raw[-22:],
        "count-too-large": at(at(raw, end + 8, "<H", 3), end + 10, "<H", 3),
        "count-too-small": at(at(raw, end + 8, "<H", 1), end + 10, "<H", 1),
        "count-of-65534": at(at(raw, end + 8, "<H", 65534), end + 10, "<H", 65534),
        "two-disks": at(raw, end + 4, "<H", 1),
        "directory-elsewhere": at(raw, end + 16, "<I", 0),
        "directory-past-the-end": at(raw, end + 16, "<I", 2**31),
        "size-lie": at(at(raw, second + 20, "<I", 2**20), second + 24, "<I", 2**20),
        "two-sizes": at(raw, second + 24, "<I", 8),
        "header-elsewhere": at(raw, second + 42, "<I", 5),
        "header-of-another": at(raw, second + 42, "<I", 0),
        "header-past-the-end": at(raw, second + 42, "<I", 2**31),
        "encrypted": at(at(raw, second + 8, "<H", 1), local + 6, "<H", 1),
        "name-mismatch": at(raw, local + 30, "<B", ord("b")),
        "method-mismatch": at(raw, local + 8, "<H", 8),
        "size-mismatch": at(raw, local + 18, "<I", 3),
        "name-past-the-end": at(raw, second + 28, "<H", 60_000),
        "extra-past-the-end": at(raw, second + 30, "<H", 60_000),
        "zip64-locator-lie": at(modern, locator + 8, "<Q", 2**63),
        "zip64-locator-elsewhere": at(modern, locator + 8, "<Q", 0),
        "zip64-count-huge": at(at(modern, record + 24, "<Q", 2**60), record + 32, "<Q", 2**60),
        "zip64-size-huge": at(modern, record + 40, "<Q", 2**63),
        "zip64-offset-huge": at(modern, record + 48, "<Q", 2**64 - 1),
        "zip64-two-directories": at(modern, -12, "<H", 1),
        "unknown-size-without-zip64": at(raw, second + 24, "<I", 2**32 - 1),
        "only-an-end": raw[end:],
        "only-a-header": raw[:30],
    }  # fmt: skip
    for what, content in contents.items():

        def lie(path: Path, _: Path, content: bytes = content) -> None:
            path.write_bytes(content)

        yield Case(f"zip-{what}", ".pt", lie)
    yield from crafted_zips()


def crafted_zips() -> Iterator[Case]:
    storage = ("archive/data/0", bytes(16))

    def twice(path: Path, _: Path) -> None:
        archive(path, program(GOOD), storage, storage)

    def two_pickles(path: Path, _: Path) -> None:
        archive(path, program(GOOD), storage, ("other/data.pkl", program(GOOD)))

    def no_pickle(path: Path, _: Path) -> None:
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("readme", "hello")

    def deflated(path: Path, _: Path) -> None:
        archive(path, program(GOOD), deflate=True)

    def bomb(path: Path, _: Path) -> None:
        archive(path, PROTO + b"N" * 50_000_000 + STOP, deflate=True)

    def storage_bomb(path: Path, _: Path) -> None:
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("a/data.pkl", program(text("w"), tensor((12_500_000,))))
            file.writestr("a/data/0", bytes(50_000_000), zipfile.ZIP_DEFLATED)

    def big_endian(path: Path, _: Path) -> None:
        archive(path, program(GOOD), storage, ("archive/byteorder", b"big"))

    def crowd(path: Path, _: Path) -> None:
        archive(path, program(GOOD), *((f"archive/data/{n}", b"") for n in range(30_000)))

    def long_names(path: Path, _: Path) -> None:
        names = (("archive/data/" + "n" * 60_000 + str(n), b"") for n in range(200))
        archive(path, program(GOOD), *names)

    def outside(path: Path, _: Path) -> None:
        archive(path, program(GOOD), storage, ("../../../../tmp/out", b"x"), ("/etc/x", b"x"))

    def pickle_too_large(path: Path, _: Path) -> None:
        archive(path, PROTO + b"N0" * 3_000_000 + STOP)

    yield Case("zip-member-twice", ".pt", twice)
    yield Case("zip-two-pickles", ".pt", two_pickles)
    yield Case("zip-without-pickle", ".pt", no_pickle)
    yield Case("zip-deflated-pickle", ".pt", deflated)
    yield Case("zip-bomb", ".pt", bomb)
    yield Case("zip-bomb-as-storage", ".pt", storage_bomb)
    yield Case("zip-big-endian", ".pt", big_endian)
    yield Case("zip-of-30000-members", ".pt", crowd)
    yield Case("zip-long-names", ".pt", long_names)
    yield Case("zip-names-outside", ".pt", outside, harmless=True)
    yield Case("zip-pickle-of-6-mb", ".pt", pickle_too_large)
