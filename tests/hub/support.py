"""What several hub tests need: file names, damage to a cached file, and child processes."""

from __future__ import annotations

import builtins
import errno
import io
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.hub.mini_hub import NAME, REPOSITORY, MiniHub
from zeroshot import hub
from zeroshot.catalog import Entry

SETTING = "open_clip_config.json"
BOTH = (SETTING, NAME)
FETCH = f"""
import hashlib
from zeroshot import hub
from zeroshot.catalog import Entry
print(hashlib.sha256(hub.fetch({REPOSITORY!r}, {BOTH!r}).weights.read_bytes()).hexdigest())
"""


def spoil(path: Path) -> None:
    """Invert one bit, as a bad disk would; the size stays."""
    real = path.resolve()
    content = bytearray(real.read_bytes())
    content[len(content) // 2] ^= 1
    real.write_bytes(content)


def environment(mini: MiniHub, cache: Path | None) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return kept | {
        "HF_ENDPOINT": mini.url,
        "HF_HOME": str(cache or "/nonexistent"),
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(Path(hub.__file__).parents[2]),
    }


def make_read_only(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Make every write below a folder fail as on a read-only disk, also for root."""

    def guarded(function: Callable[..., Any], writes: Callable[..., bool]) -> Callable[..., Any]:
        def call(path: Any, *rest: Any, **options: Any) -> Any:
            inside = not isinstance(path, int) and str(path).startswith(str(folder))
            if inside and writes(*rest, **options):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
            return function(path, *rest, **options)

        return call

    def opens(mode: str = "r", *_: Any, **__: Any) -> bool:
        return bool(set(mode) & set("wax+"))

    def flagged(flags: int, *_: Any, **__: Any) -> bool:
        return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))

    patch.setattr(builtins, "open", guarded(open, opens))
    patch.setattr(io, "open", guarded(io.open, opens))
    patch.setattr(os, "open", guarded(os.open, flagged))
    for name in ("mkdir", "replace", "rename", "unlink", "remove", "symlink", "utime", "chmod"):
        patch.setattr(os, name, guarded(getattr(os, name), lambda *_, **__: True))


def expect_sizes(monkeypatch: pytest.MonkeyPatch, **sizes: Any) -> None:
    """Make the catalog expect a tiny checkpoint under every name."""
    published: Any = vars(Entry)["published"].fget
    monkeypatch.setattr(
        Entry, "published", property(lambda entry: published(replace(entry, **sizes)))
    )
