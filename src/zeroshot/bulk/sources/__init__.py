"""Sources of images, by kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zeroshot.bulk.items import Source
from zeroshot.bulk.sources.listing import Listing

__all__ = ["Listing", "open_sources"]


def open_sources(
    inputs: Any,
    *,
    column: str | None = None,
    keep: Sequence[str] = (),
    fps: float | None = None,
    every: int | None = None,
) -> list[Source]:
    """Return the sources of the inputs."""
    from zeroshot.labeling.sources import expand

    arguments = [inputs] if isinstance(inputs, str) else [str(each) for each in inputs]
    found = Listing.from_names(name for argument in arguments for name in expand(argument))
    found.name = ", ".join(arguments[:4])
    return [found]
