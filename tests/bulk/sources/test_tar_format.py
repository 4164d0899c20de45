"""Headers of tar archives are parsed as `tarfile` parses them, and damage is reported."""

from __future__ import annotations

import io
import tarfile
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zeroshot.bulk.sources.tar_format import DamagedError, TarReader

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
NAMES = st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1)
LONG = st.integers(1, 400).map(lambda n: "long/" + "n" * n)
CONTENTS = st.binary(max_size=1200)


class Pipe(io.BytesIO):
    """A stream that returns less than was asked for, and cannot seek."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(size or 0, 300))

    def seek(self, *_: int) -> int:
        raise AssertionError("a stream cannot seek")


def pack(files: dict[str, bytes], kind: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def unpack(archive: bytes, *, stream: bool = False) -> dict[str, bytes]:
    reader = TarReader(
        Pipe(archive) if stream else io.BytesIO(archive), None if stream else len(archive)
    )
    return {member.name: reader.read(member) for member in reader if member.is_file}


@pytest.mark.parametrize("stream", [False, True], ids=["file", "stream"])
@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=["gnu", "pax"])
@given(files=st.dictionaries(NAMES | LONG, CONTENTS, max_size=4))
def test_members_are_those_that_were_packed(
    stream: bool, kind: int, files: dict[str, bytes]
) -> None:
    assert unpack(pack(files, kind), stream=stream) == files


def test_ustar_names_with_a_prefix_are_joined() -> None:
    name = "a" * 120 + "/" + "b" * 90

    assert unpack(pack({name: b"1"}, tarfile.USTAR_FORMAT)) == {name: b"1"}


def test_global_pax_headers_folders_and_links_are_no_files() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", pax_headers={"comment": "x"}) as tar:
        for name, kind in (("a", tarfile.DIRTYPE), ("b", tarfile.SYMTYPE), ("c", tarfile.LNKTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "../../etc/passwd"
            tar.addfile(info)
        tar.addfile(tarfile.TarInfo("d"), io.BytesIO())

    assert unpack(buffer.getvalue()) == {"d": b""}


def test_sizes_in_binary_are_read() -> None:
    archive = bytearray(pack({"a": b"12345"}, tarfile.GNU_FORMAT))
    archive[124:136] = b"\x80" + (5).to_bytes(11, "big")
    archive[148:156] = b" " * 8
    archive[148:156] = b"%06o\0 " % sum(archive[:512])

    assert unpack(bytes(archive)) == {"a": b"12345"}


@given(cut=st.integers(0, 3 * 1024 + 511), stream=st.booleans())
def test_every_truncation_is_reported(cut: int, stream: bool) -> None:
    archive = pack({"a": b"1" * 600, "b": b"2" * 600}, tarfile.USTAR_FORMAT)[: 2 * 1536]

    with pytest.raises(DamagedError, match=r"truncated|empty"):
        unpack(archive[:cut], stream=stream)


@pytest.mark.parametrize("place", [0, 100, 130, 150, 1536])
def test_damaged_headers_are_reported(place: int) -> None:
    archive = bytearray(pack({"a": b"1" * 600, "b": b"2"}))
    archive[place] ^= 0x55

    with pytest.raises(DamagedError, match="damaged" if place >= 512 else "not a tar file"):
        unpack(bytes(archive))


def test_block_of_zeros_before_other_members_is_reported() -> None:
    archive = bytearray(pack({"a": b"1", "b": b"2", "c": b"3"}))
    archive[1024:1536] = bytes(512)

    with pytest.raises(DamagedError, match="is damaged: zeros at byte 1024"):
        unpack(bytes(archive))
    assert unpack(pack({"a": b"1"})[:1536]) == {"a": b"1"}  # one block of zeros at the end


def test_tarfile_ends_silently_where_a_header_is_damaged() -> None:
    archive = bytearray(pack({"a": b"1" * 600, "b": b"2"}))
    archive[1536] ^= 0x55

    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert tar.getnames() == ["a"]  # why it is not used


@given(content=st.binary(max_size=2000))
def test_other_bytes_are_no_archive(content: bytes) -> None:
    with pytest.raises(DamagedError):
        unpack(content or b"x")


@given(place=st.integers(0, 4000), flip=st.integers(1, 255), stream=st.booleans())
def test_changed_bytes_give_members_or_an_error(place: int, flip: int, stream: bool) -> None:
    archive = bytearray(pack({"ä" * 80: b"1" * 600, "b": b"2" * 700}))
    archive[place % len(archive)] ^= flip

    with suppress(DamagedError):  # any other error fails the test
        unpack(bytes(archive), stream=stream)


def test_header_that_claims_a_huge_name_is_refused() -> None:
    archive = bytearray(pack({"n" * 300: b"1"}, tarfile.GNU_FORMAT))
    archive[124:136] = b"77777777777\0"
    archive[148:156] = b" " * 8
    archive[148:156] = b"%06o\0 " % sum(archive[:512])

    with pytest.raises(DamagedError, match="a header of 8589934591 bytes"):
        unpack(bytes(archive))
