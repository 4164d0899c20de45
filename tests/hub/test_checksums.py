"""A file is hashed once; a stamp remembers the result while the file is unchanged."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.hub.mini_hub import REPOSITORY, WEIGHTS, MiniHub
from tests.hub.support import BOTH
from zeroshot import files, hub


def test_unchanged_file_is_not_hashed_again(
    tiny_hub: MiniHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = hub.fetch(REPOSITORY, BOTH).weights
    hashed: list[Path] = []
    sha256 = files.sha256
    monkeypatch.setattr(files, "sha256", lambda p: hashed.append(p) or sha256(p))

    hub.fetch(REPOSITORY, BOTH)
    assert hashed == []

    os.utime(path.resolve())
    hub.fetch(REPOSITORY, BOTH)
    assert hashed == [path]

    hub.fetch(REPOSITORY, BOTH)
    assert hashed == [path]


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"size": 1}', b"\xff"])
def test_invalid_stamp_is_replaced(tiny_hub: MiniHub, cache: Path, content: bytes) -> None:
    hub.fetch(REPOSITORY, BOTH)
    (stamp,) = cache.glob("*/.zeroshot/*")
    stamp.write_bytes(content)

    assert hub.fetch(REPOSITORY, BOTH).weights.read_bytes() == WEIGHTS
    assert json.loads(stamp.read_text())["sha256"]
