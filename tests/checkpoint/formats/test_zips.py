"""Zip members are located as zipfile locates them, and anything unusual is rejected."""

from __future__ import annotations

import io
import zipfile

from tests.checkpoint import hostile
from zeroshot.checkpoint.formats import zips


def test_member_spans_match_zipfile() -> None:
    for raw in (hostile.good_zip(), hostile.plain_zip()):
        spans = zips.members(memoryview(raw), "x")

        with zipfile.ZipFile(io.BytesIO(raw)) as file:
            expected = {name: file.read(name) for name in file.namelist()}
        assert {n: raw[s.offset : s.offset + s.size] for n, s in spans.items()} == expected
