"""What a source of images is, and what it yields."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from zeroshot.images import ImageLike


@dataclass(frozen=True)
class Item:
    """One image, not read yet.

    `read` is called in a worker thread. It returns the bytes of a file, or an image that is no
    file, such as a video frame; what it raises becomes an error in the row of the image.
    """

    name: str  # the column `source`: a path, a URL, or archive#member
    read: Callable[[], ImageLike]
    kept: tuple[Any, ...] = ()  # values of `Source.columns`


class Source(Protocol):
    """Images in a fixed order.

    To add a kind of source, write a module in `zeroshot.bulk.sources` and add it to its table.
    """

    kind: str  # "list", "parquet", "zip", "tar", "video", "remote" or "iterable"
    name: str  # what the user gave
    columns: tuple[str, ...]  # names of the values in `Item.kept`
    splits: bool  # whether items(first) is cheap for any row; other sources are read from the start

    def facts(self) -> dict[str, Any]:
        """Return what identifies the content as JSON data: kind, name, size, ...

        A run is not continued with a source whose facts differ.
        """

    def count(self) -> int | None:
        """Return the number of items, or None if it is not known before the end."""

    def items(self, first: int = 0) -> Iterator[Item]:
        """Yield the items from a row on. Items are made in one thread and read in others."""
