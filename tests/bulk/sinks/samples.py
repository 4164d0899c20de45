"""Rows and columns of the tests of sinks."""

from __future__ import annotations

from typing import Any

import numpy as np

from zeroshot.bulk.rows import Columns, Row, number_row

PLAIN = Columns(("cat", "dog", 'ü, "x"'), top=2, dim=None)
WIDE = Columns(
    ("cat", "dog"),
    top=2,
    dim=4,
    has_scores=True,
    kept=("caption", "id"),
    kept_types=("string", "int64"),
)
METADATA = {"model": "tiny", "chunk": 0, "last": False}


def make_rows() -> list[Row]:
    """Return a labeled row, a duplicate, an error, and a row without an answer."""
    facts: dict[str, Any] = {"width": 4, "height": 3, "bytes": 99, "hash": bytes(range(16))}
    labeled = Row(
        0,
        "a.jpg",
        "dog",
        0.75,
        ("dog", "cat"),
        (0.75, 0.25),
        **facts,
        scores=np.array([0.25, 0.75], np.float16),
        embedding=np.array([0.5, -0.5, 0.5, 0.5], np.float16),
        kept=("ünï\ncode", 7),
    )
    duplicate = Row(
        1,
        'b,"c".jpg',
        "dog",
        0.75,
        ("dog", "cat"),
        (0.75, 0.25),
        **facts,
        duplicate_of=0,
        scores=labeled.scores,
        embedding=labeled.embedding,
        kept=(None, None),
    )
    error = Row(
        2,
        "bad\udcff.jpg",
        bytes=3,
        hash=b"x" * 16,
        error_kind="not_image",
        error='text, not "it"',
        kept=("", 9),
    )
    unsure = Row(
        number_row(1, 0),
        "c.jpg",
        None,
        0.1 + 0.2,
        ("cat", "dog"),
        (0.1 + 0.2, 0.123456789),
        scores=np.array([0.25, 0.75], np.float16),
        embedding=np.array([1, 0, 0, 0], np.float16),
        kept=("x", -1),
    )
    return [labeled, duplicate, error, unsure]
