"""List images by name: files and URLs, in a fixed order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from zeroshot.bulk.items import Item
from zeroshot.bulk.sources.reading import read_image


class Listing:
    """Images at paths and URLs, in a fixed order."""

    kind = "list"
    splits = True

    def __init__(
        self,
        name: str,
        names: list[str],
        kept: list[tuple[Any, ...]],
        columns: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.names = names  # paths and URLs
        self.kept = kept  # a row per name; empty without columns
        self.columns = columns
        self.skipped: dict[str, int] = {}

    @classmethod
    def from_names(
        cls,
        names: Iterable[str],
        kept: Iterable[tuple[Any, ...]] = (),
        columns: Sequence[str] = (),
    ) -> Listing:
        """Return a listing of paths and URLs; `kept` has the values of `columns` for each."""
        names = list(names)
        return cls(", ".join(names[:4]), names, list(kept), tuple(columns))

    def facts(self) -> dict[str, Any]:
        """Return the number of images and a digest of their names."""
        digest = hashlib.blake2b(json.dumps([self.names, self.kept]).encode(), digest_size=16)
        count = len(self.names)
        return {"kind": "list", "name": self.name, "count": count, "digest": digest.hexdigest()}

    def count(self) -> int:
        """Return the number of images."""
        return len(self.names)

    def items(self, first: int = 0) -> Iterator[Item]:
        """Yield the images from a row on."""
        for place in range(first, len(self.names)):
            kept = self.kept[place] if self.columns else ()
            yield Item(self.names[place], partial(read_image, self.names[place]), kept)

    def freeze(self, path: Path) -> Path:
        """Write the listing to a file."""
        content = [self.name, self.names, self.kept, self.columns]
        path.write_text(json.dumps(content), "utf-8")
        return path

    @classmethod
    def thaw(cls, path: Path) -> Listing:
        """Read a listing that `freeze` wrote."""
        name, names, kept, columns = json.loads(path.read_text("utf-8"))
        return cls(name, names, [tuple(row) for row in kept], tuple(columns))
