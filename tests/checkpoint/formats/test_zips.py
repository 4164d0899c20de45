"""Zip members are located as zipfile locates them, and anything unusual is rejected."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable

import pytest

from tests.checkpoint import hostile
from zeroshot.checkpoint.formats import zips
from zeroshot.errors import UnsafeWeightsError


def test_member_spans_match_zipfile() -> None:
    for raw in (hostile.good_zip(), hostile.plain_zip()):
        spans = zips.members(memoryview(raw), "x")

        with zipfile.ZipFile(io.BytesIO(raw)) as file:
            expected = {name: file.read(name) for name in file.namelist()}
        assert {n: raw[s.offset : s.offset + s.size] for n, s in spans.items()} == expected


def test_deflated_member_is_marked() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("stored", b"a" * 100)
        file.writestr("deflated", b"a" * 100, zipfile.ZIP_DEFLATED)

    spans = zips.members(memoryview(buffer.getvalue()), "x")

    assert (spans["stored"].stored, spans["stored"].size) == (True, 100)
    assert not spans["deflated"].stored
    assert spans["deflated"].size < 100


def test_empty_zip_has_no_members() -> None:
    buffer = io.BytesIO()
    zipfile.ZipFile(buffer, "w").close()

    assert zips.members(memoryview(buffer.getvalue()), "x") == {}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda raw: raw + b"\0", "a zip file without a directory at its end"),
        (lambda raw: b"#!/bin/sh\n" + raw, "a zip file with several parts or additional data"),
        (lambda raw: raw[:-1], "a zip file without a directory at its end"),
        (lambda raw: raw.replace(b"PK\x01\x02", b"PK\x01\x03", 1), "a truncated zip directory"),
        (
            lambda raw: raw.replace(b"PK\x03\x04", b"PK\x03\x05", 1),
            "member b'a/data.pkl' has no header",
        ),
        (
            lambda raw: raw.replace(b"a/data/0", b"a/data/1", 1),
            "has a header that disagrees with the directory",
        ),
    ],
)
def test_damaged_zip_is_rejected_with_a_reason(
    damage: Callable[[bytes], bytes], message: str
) -> None:
    with pytest.raises(UnsafeWeightsError, match=message) as caught:
        zips.members(memoryview(damage(hostile.plain_zip())), "x.pt")

    assert caught.value.source == "x.pt"
    assert str(caught.value).startswith("x.pt: ")


def test_number_of_members_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zips, "MAX_MEMBERS", 1)

    with pytest.raises(UnsafeWeightsError, match="2 members, the limit is 1"):
        zips.members(memoryview(hostile.plain_zip()), "x")
