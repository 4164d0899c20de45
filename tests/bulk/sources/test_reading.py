"""Files are opened, identified and read; names can always be encoded."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from zeroshot.bulk.sources import reading
from zeroshot.bulk.sources.reading import (
    failed,
    failed_image,
    identify,
    open_file,
    read_image,
)
from zeroshot.errors import ImageError, InputError


def test_image_is_the_bytes_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"content")

    assert read_image(str(tmp_path / "a.jpg")) == b"content"


def test_too_large_image_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    monkeypatch.setattr(reading, "MAX_BYTES", 10)
    (tmp_path / "a.jpg").write_bytes(bytes(11))
    fsspec.filesystem("memory").pipe("/large.jpg", bytes(11))

    for name in (str(tmp_path / "a.jpg"), "memory://large.jpg"):
        with pytest.raises(ImageError, match="expected at most 10 bytes") as caught:
            read_image(name)
        assert caught.value.kind == "too_large_bytes"


@pytest.mark.parametrize("name", ["missing.tar", ".", "a\0b.tar", "n" * 300])
def test_file_that_cannot_be_opened_is_an_error(name: str) -> None:
    with pytest.raises(InputError, match=r"no such file|regular file|cannot be opened"):
        open_file(name)


def test_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.tar")

    with pytest.raises(InputError, match="expected a regular file"):
        identify("tar", str(tmp_path / "a.tar"))


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 131_072, 200_000])
def test_digest_changes_with_the_start_and_the_end(size: int, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    content = bytearray(np.random.default_rng(0).bytes(size))
    path.write_bytes(content)
    facts = identify("tar", str(path))

    assert (facts["size"], facts["kind"], facts["name"]) == (size, "tar", str(path))
    assert identify("tar", str(path)) == facts
    for place in {0, size - 1} if size else ():
        changed = content.copy()
        changed[place] ^= 1
        path.write_bytes(changed)
        assert identify("tar", str(path))["digest"] != facts["digest"]


def test_failed_item_raises_its_error_whenever_it_is_read() -> None:
    item = failed("\udcff", OSError("disk"), [1])

    assert (item.name, item.kept) == ("\\udcff", (1,))
    for _ in range(2):
        with pytest.raises(OSError, match="disk"):
            item.read()


def test_failed_image_has_kind_and_source() -> None:
    with pytest.raises(ImageError, match="a: broken") as caught:
        failed_image("a", "truncated", "broken").read()

    assert (caught.value.kind, caught.value.source) == ("truncated", "a")
