"""Valid files that are cut off, and random bytes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.checkpoint.hostile.base import GOOD_FILES, Case

CUTS = 20


def truncated() -> Iterator[Case]:
    for kind, (suffix, make) in GOOD_FILES.items():
        for n in range(CUTS):

            def cut(path: Path, _: Path, n: int = n, make: Callable[[], bytes] = make) -> None:
                raw = make()
                path.write_bytes(raw[: len(raw) * n // CUTS])

            yield Case(f"{kind}-cut-at-{n}-of-{CUTS}", suffix, cut)


def noise() -> Iterator[Case]:
    for what, head in (("random", b""), ("zip", b"PK\x03\x04"), ("pickle", b"\x80\x02")):

        def write(path: Path, _: Path, head: bytes = head) -> None:
            path.write_bytes(head + random.Random(3).randbytes(100_000))

        yield Case(f"noise-{what}", ".pt", write)
