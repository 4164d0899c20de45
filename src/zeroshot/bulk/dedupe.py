"""Compute images with the same bytes once.

Which row is a duplicate of which depends on the order of the rows only, so a run that is continued
gives the same table: rows of finished parts are read again in their place in the order.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from zeroshot.bulk.items import Item
from zeroshot.bulk.rows import HASH, Row
from zeroshot.lookahead import run_ahead
from zeroshot.machine import cores

LIMIT = 200_000  # distinct hashes that are remembered
AHEAD = 8, 64  # images that are read before their turn: per core, and at most


@dataclass(slots=True)
class Original:
    """The first image with its bytes; its row is known when it was computed."""

    number: int
    row: Row | None = None


@dataclass(slots=True)
class Duplicate:
    """A row that is filled from that of another image."""

    number: int
    item: Item
    original: Original


@dataclass(frozen=True)
class Replay:
    """A finished part: its rows are remembered, not computed."""

    rows: Callable[[], Iterable[Row]]


class Deduplicator:
    """Finds duplicates in a stream of work."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._seen: OrderedDict[bytes, Original] = OrderedDict()
        self._waiting: deque[Original] = deque()

    def split(self, work: Iterable[Any]) -> Iterator[Any]:
        """Yield the work, with a Duplicate in place of an image that was seen before."""
        limit = min(AHEAD[0] * cores(), AHEAD[1])
        read = run_ahead(_read, work, workers=min(cores(), limit), limit=limit)
        with closing(read):
            for each, content in read:
                if type(each) is Replay:
                    for row in each.rows():
                        if row.hash is not None and self._find(row.hash) is None:
                            self._remember(row.hash, Original(row.row, row))
                elif type(each) is tuple:
                    number, item = each
                    yield self._check(number, item, content)
                else:
                    yield each

    def _check(self, number: int, item: Item, content: Any) -> Any:
        if isinstance(content, bytes):
            digest = hashlib.blake2b(content, digest_size=HASH).digest()
            original = self._find(digest)
            if original is not None:
                return Duplicate(number, item, original)
            original = Original(number)
            self._remember(digest, original)
            self._waiting.append(original)
        return number, replace(item, read=lambda: _get(content))

    def _find(self, digest: bytes) -> Original | None:
        found = self._seen.get(digest)
        if found is not None:
            self._seen.move_to_end(digest)
        return found

    def _remember(self, digest: bytes, original: Original) -> None:
        self._seen[digest] = original
        if len(self._seen) > self._limit:
            self._seen.popitem(last=False)

    def finish(self, each: Row | Duplicate) -> Row:
        """Return a row that was computed, or that of a duplicate; call it in order."""
        if isinstance(each, Row):
            if self._waiting and self._waiting[0].number == each.row:
                self._waiting.popleft().row = each
            return each
        found = each.original.row
        assert found is not None  # it comes first
        return replace(
            found,
            row=each.number,
            source=each.item.name,
            kept=each.item.kept,
            duplicate_of=each.original.number,
        )


def _read(each: Any) -> tuple[Any, Any]:
    """Read an image; return it, or the exception."""
    if type(each) is not tuple:
        return each, None
    try:
        return each, each[1].read()
    except Exception as error:
        return each, error


def _get(content: Any) -> Any:
    if isinstance(content, Exception):
        raise content
    return content
