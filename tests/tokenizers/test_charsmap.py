"""The table of replacements is read completely, and rejected when a position is outside it."""

from __future__ import annotations

import random
import struct
import unicodedata

import numpy as np
import pytest

from tests.tokenizers.training import charsmap_of
from zeroshot.tokenizers.charsmap import LEAF, read_charsmap


@pytest.fixture(scope="module")
def published(trained: dict[str, bytes]) -> bytes:
    """The table of nmt_nfkc, which every such model contains."""
    return charsmap_of(trained["siglip"])


def table(units: list[int], replacements: bytes) -> bytes:
    return struct.pack("<I", 4 * len(units)) + np.array(units, "<u4").tobytes() + replacements


def small(**changes: int) -> bytes:
    """Return a table that replaces "a" by "bc": a root, one unit and its value."""
    units = [0] * 512
    units[0] = 256 << 10  # the root leads to 256
    units[256 ^ ord("a")] = ord("a") | 1 << 8 | (97 ^ 96 ^ 0) << 10
    base = (256 ^ ord("a")) ^ (97 ^ 96)
    units[base] = LEAF | changes.get("value", 0)
    if "offset" in changes:
        units[256 ^ ord("a")] = ord("a") | changes["offset"] << 10
    return table(units, b"bc\0")


def test_a_written_table_is_read() -> None:
    assert read_charsmap(small()) == {"a": "bc"}


def test_the_published_table_normalizes_as_nfkc_does(published: bytes) -> None:
    found = read_charsmap(published)

    known = {  # to this Python's version of Unicode
        text: value
        for text, value in found.items()
        if len(text) == 1 and value.strip() and unicodedata.category(text) != "Cn"
    }
    differing = [t for t, value in known.items() if unicodedata.normalize("NFKC", t) != value]
    assert len(found) > 200_000
    assert (found["ﬁ"], found["½"], found["\u3000"], found["\x0e"]) == ("fi", "1⁄2", " ", "")
    assert len(differing) < len(known) / 200  # the exceptions of nmt


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "trie of 0 bytes does not fit into 0"),
        (b"\0\0\0\0", "trie of 0 bytes"),
        (b"\xff\xff\xff\xff" + bytes(8), "trie of 4294967295 bytes does not fit into 12"),
        (b"\x06\0\0\0" + bytes(8), "trie of 6 bytes"),
        (table([0], b""), "outside the trie"),
        (small(value=3), "outside the replacements"),
        (small(value=2**31 - 1), "outside the replacements"),
        (small(offset=2**20), "outside the trie"),
        (small(offset=97), "cycle or is too large"),
        (small()[:-1] + b"d" * 255 + b"\0", "a replacement of 257 bytes"),
        (small()[:-1], "outside the replacements"),
        (small()[:-3] + b"\xff\xff\0", "not UTF-8"),
    ],
)
def test_an_invalid_table_is_rejected(content: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read_charsmap(content)


def test_a_corrupted_table_is_read_or_rejected(published: bytes) -> None:
    dice = random.Random(5)
    size = int.from_bytes(published[:4], "little")
    outcomes = set()
    for _ in range(12):
        raw = np.frombuffer(published, np.uint8).copy()
        places = np.array([dice.randrange(4, size) for _ in range(300)])
        raw[places] = np.frombuffer(dice.randbytes(300), np.uint8)
        try:
            read_charsmap(raw.tobytes())
            outcomes.add("read")
        except ValueError:
            outcomes.add("rejected")
    assert "rejected" in outcomes
