"""Write SentencePiece models field by field, also invalid ones."""

from __future__ import annotations

import struct
from collections.abc import Iterable

Value = int | float | str | bytes
Pieces = Iterable[tuple[str | bytes, float, int]]
PIECES: tuple[tuple[str, float, int], ...] = (
    ("<unk>", 0.0, 2),
    ("<s>", 0.0, 3),
    ("</s>", 0.0, 3),
    ("\u2581", -3.0, 1),
    ("a", -2.0, 1),
    ("\u2581cat", -1.0, 1),
    ("t", -4.0, 1),
)


def varint(number: int) -> bytes:
    """Encode an integer in groups of seven bits."""
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def field(number: int, value: Value) -> bytes:
    """Encode a field; the type of the value gives the wire type."""
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    return varint(number << 3) + varint(value)


def message(fields: dict[int, Value]) -> bytes:
    return b"".join(field(number, value) for number, value in fields.items())


def written(
    pieces: Pieces = PIECES,
    trainer: dict[int, Value] | None = None,
    normalizer: dict[int, Value] | None = None,
) -> bytes:
    """Return a model file."""
    listed = [field(1, message({1: text, 2: score, 3: kind})) for text, score, kind in pieces]
    return b"".join(listed) + field(2, message(trainer or {})) + field(3, message(normalizer or {}))
