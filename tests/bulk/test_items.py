"""Every kind of source has the attributes and methods of `Source`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bulk.sources.files import (
    pictures,
    write_folder,
    write_parquet,
    write_tar,
    write_video,
    write_zip,
)
from zeroshot.bulk.items import Item
from zeroshot.bulk.sources import open_sources

FILES = pictures(3)
MAKERS = {
    "list": lambda path: write_folder(path, FILES),
    "zip": lambda path: write_zip(path / "a.zip", FILES),
    "tar": lambda path: write_tar(path / "a.tar", FILES),
    "parquet": lambda path: write_parquet(path / "a.parquet", {"image": FILES.values()}),
    "video": lambda path: write_video(path / "a.mp4"),
    "iterable": lambda path: list(FILES.values()),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_source_describes_itself_and_yields_items(kind: str, tmp_path: Path) -> None:
    [source] = open_sources(MAKERS[kind](tmp_path))
    items = list(source.items())

    assert (source.kind, source.columns) == (kind, ())
    assert isinstance(source.name, str)
    assert source.count() in (None, len(items))
    assert isinstance(source.splits, bool)
    facts = source.facts()
    assert json.loads(json.dumps(facts)) == facts
    assert all(isinstance(item, Item) and item.kept == () for item in items)
