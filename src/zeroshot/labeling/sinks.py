"""Write results: predictions as JSON lines or CSV, embeddings as .npy."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TextIO

import numpy as np
from numpy.typing import NDArray

from zeroshot.files import write_atomically
from zeroshot.predictions import Failure, Prediction


class Sink(Protocol):
    """Takes one result after the other."""

    def write(self, result: Prediction | Failure) -> None: ...


class JsonLines:
    """One JSON object per line; ASCII only where the stream's encoding has no other letters."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, result: Prediction | Failure) -> None:
        """Write one line."""
        line = json.dumps(result.to_dict(), ensure_ascii=False)
        if not can_encode(line, self._stream):
            line = json.dumps(result.to_dict())
        self._stream.write(f"{line}\n")
        self._stream.flush()


class Csv:
    """One row per label shown, or per failure, after a header."""

    def __init__(self, stream: TextIO) -> None:
        self._rows = csv.writer(stream, lineterminator="\n")
        self._rows.writerow(["source", "rank", "label", "probability", "error"])

    def write(self, result: Prediction | Failure) -> None:
        """Write the rows of one result."""
        facts: dict[str, Any] = result.to_dict()
        for rank, entry in enumerate(facts.get("ranking", ()), 1):
            probability = f"{entry['probability']:.6f}"
            self._rows.writerow([result.source, rank, entry["label"], probability, ""])
        if "error" in facts:
            self._rows.writerow([result.source, "", "", "", facts["error"]])


def can_encode(text: str, stream: TextIO) -> bool:
    """Tell whether a stream's encoding has all letters of a text."""
    try:
        text.encode(stream.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def names_beside(path: Path) -> Path:
    """Return the file that says what each row of an embeddings file is."""
    return path.with_name(f"{path.name}.txt")


def save_embeddings(path: Path, embeddings: NDArray[np.float32], names: Sequence[str]) -> None:
    """Write embeddings [n, d] as .npy, and what each row is beside them, one line each."""
    with write_atomically(path) as temporary, temporary.open("wb") as file:
        np.save(file, embeddings)
    lines = "".join(f"{name}\n" for name in names)
    with write_atomically(names_beside(path)) as temporary:
        temporary.write_text(lines, "utf-8", errors="surrogateescape")
