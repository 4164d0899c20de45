"""Helpers of the checkpoint tests."""

from __future__ import annotations

import copy
from typing import Any

from zeroshot.checkpoint.config_fields import Fields


def changed(document: dict[str, Any], path: str, value: Any) -> Fields:
    """Return the document with the value under a dotted path set."""
    document = copy.deepcopy(document)
    *parts, last = path.split(".")
    place = document
    for part in parts:
        place = place.setdefault(part, {})
    place[last] = value
    return Fields(document, "x.json")
