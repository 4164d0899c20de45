"""Look up published zero-shot figures of OpenAI's models."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from zeroshot import catalog
from zeroshot.errors import ModelNotFound


@dataclass(frozen=True)
class Published:
    """A published figure in percent, its source, and what differs."""

    percent: float
    source: str
    differs: str


def find(name: str, model: str) -> Published | None:
    """Return the published figure of a model on a data set, or None if the source has none."""
    known = _read()
    try:
        entry = catalog.find(model)
    except ModelNotFound:
        return None
    percent = known["percent"].get(name, {}).get(entry.name)
    if percent is None:
        return None
    differs = [known["differs"], *filter(None, [known["images"].get(name)])]
    return Published(percent, known["source"], ", ".join(differs))


@cache
def _read() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("published.toml").read_text("utf-8"))
