"""Fields of a config file are read one by one, and errors name the file and the field."""

from __future__ import annotations

from pathlib import Path

import pytest

from zeroshot.checkpoint.config_fields import read_config
from zeroshot.errors import IncompatibleWeights


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b" " * 2**20 + b"{}",
        b'{"a":' + b"9" * 5000 + b"}",
    ],
    ids=["empty", "list", "cut", "not-utf8", "deep", "large", "digits"],
)
def test_malformed_config_file_is_rejected(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(content)

    with pytest.raises(IncompatibleWeights, match=r"config\.json"):
        read_config(tmp_path / "config.json")
