"""Lists of images in the output folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.bulk.support import Stream
from zeroshot.bulk.frozen import freeze, is_searched, types_of
from zeroshot.bulk.sources import Listing


@pytest.mark.parametrize("has_pyarrow", [True, False])
def test_a_list_is_read_as_it_was_written(
    has_pyarrow: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_pyarrow:
        monkeypatch.setitem(sys.modules, "pyarrow", None)
    names = ["a.jpg", "ü \n.png", os.fsdecode(b"\xff.jpg"), "https://example.com/a.jpg"]
    kept = [(1, "x"), (2, None), (3, ""), (4, "y")]
    listing = Listing.from_names(names, kept, ("id", "name"))

    name = freeze(listing, 3, tmp_path)
    found = Listing.thaw(tmp_path / name)

    assert name.startswith("_inputs-00003-")
    assert name.endswith("parquet" if has_pyarrow else "jsonl")
    assert (found.names, found.kept, found.columns) == (names, kept, ("id", "name"))
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_another_list_has_another_file(tmp_path: Path) -> None:
    first = freeze(Listing.from_names(["a.jpg"]), 0, tmp_path)

    assert freeze(Listing.from_names(["a.jpg"]), 0, tmp_path) == first
    assert freeze(Listing.from_names(["b.jpg"]), 0, tmp_path) != first


def test_types_are_those_of_the_values_or_of_the_source() -> None:
    listing = Listing.from_names(["a", "b"], [(1, "x"), (None, 2)], ("id", "name"))
    stream = Stream([], ("id",))
    typed = Stream([], ("id",))
    typed.kept_types = ["int64"]  # type: ignore[attr-defined]

    assert types_of(listing) == ("int64", "string")
    assert types_of(stream) == ("string",)
    assert types_of(typed) == ("int64",)
    assert types_of(Stream([])) == ()


def test_folders_patterns_and_pipes_are_searched(tmp_path: Path) -> None:
    for inputs in (tmp_path, str(tmp_path), "*.jpg", "-", ["a.jpg", str(tmp_path)]):
        assert is_searched(inputs)
    for inputs in ("a.jpg", ["a.jpg"], [], iter([str(tmp_path)]), [b"bytes"]):
        assert not is_searched(inputs)
