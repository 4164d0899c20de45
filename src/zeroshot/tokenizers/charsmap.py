"""Read the table of character replacements that SentencePiece normalizes with.

The table is a double-array trie followed by the replacements. Every position in it is checked.
Format: `builder.cc` of google/sentencepiece and `darts.h` of darts-clone.
"""

from __future__ import annotations

import numpy as np

LEAF = 1 << 31  # bit of a unit that holds a value
HAS_LEAF = 1 << 8  # bit of a unit with a value below it
BLOCK = 255  # a byte of the key changes the low eight bits of a position
LONGEST = 64  # bytes of a key; nmt_nfkc_cf needs 12
LONGEST_REPLACEMENT = 256  # bytes, so that a file cannot inflate a text; NFKC needs 33
MAX_NODES = 2_000_000  # nmt_nfkc_cf has 233,000


def read_charsmap(content: bytes) -> dict[str, str]:
    """Read the replacements.

    Args:
        content: `precompiled_charsmap` of a SentencePiece model: the size of the trie in bytes as
            uint32, the trie as uint32 units, the replacements as UTF-8, each ended by NUL.

    Returns:
        Replacement by text. The longest text that matches is replaced.

    Raises:
        ValueError: The table is cut off, has a position outside it, or a cycle.
    """
    size = int.from_bytes(content[:4], "little")
    if len(content) < 4 or not 0 < size <= len(content) - 4 or size % 4:
        raise ValueError(f"its trie of {size} bytes does not fit into {len(content)} bytes")
    array = np.frombuffer(content, "<u4", size // 4, 4)
    replacements = content[4 + size :]
    units, children = array.tolist(), _children(array)
    found: dict[bytes, bytes] = {}
    visited = 0
    nodes = [(0, b"")]
    while nodes:
        node, key = nodes.pop()
        unit = units[node]
        base = node ^ (unit >> 10 << ((unit & 1 << 9) >> 6))
        if base | BLOCK >= len(units):
            raise ValueError("its trie has a position outside the trie")
        if unit & HAS_LEAF:
            start = units[base] & (LEAF - 1)
            end = replacements.find(b"\0", start)
            if end < 0:
                raise ValueError("its trie has a position outside the replacements")
            if end - start > LONGEST_REPLACEMENT:
                raise ValueError(f"it has a replacement of {end - start} bytes")
            found[key] = replacements[start:end]
        visited += 1
        if visited > MAX_NODES or len(key) > LONGEST:  # units may be shared, so a cycle is possible
            raise ValueError("its trie has a cycle or is too large")
        for child in children.get(base, ()):
            nodes.append((child, key + bytes([units[child] & BLOCK])))
    try:
        replacements.decode("utf-8")
        return {key.decode("utf-8"): value.decode("utf-8") for key, value in found.items() if key}
    except UnicodeDecodeError as error:
        raise ValueError(f"it has text that is not UTF-8 ({error})") from error


def _children(array: np.ndarray[tuple[int], np.dtype[np.uint32]]) -> dict[int, list[int]]:
    """Return the positions of units by the position that a label leads from."""
    found: dict[int, list[int]] = {}
    labeled = np.flatnonzero((array & LEAF == 0) & (array & BLOCK != 0))
    bases = labeled ^ (array[labeled] & BLOCK).astype(np.int64)
    for base, place in zip(bases.tolist(), labeled.tolist(), strict=True):
        found.setdefault(base, []).append(place)
    return found
