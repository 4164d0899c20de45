"""Write results: predictions as JSON Lines or CSV, embeddings as .npy."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from zeroshot.files import write_atomically
from zeroshot.predictions import Failure, LabelSet, Prediction

Result = Prediction | LabelSet | Failure


class JsonLines:
    """Writes one JSON object per line.

    Non-ASCII text is escaped if the encoding of the stream does not support it.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, result: Result) -> None:
        """Write the JSON object of one result."""
        line = json.dumps(result.to_dict(), ensure_ascii=False)
        if not can_encode(line, self._stream):
            line = json.dumps(result.to_dict())
        self._stream.write(f"{line}\n")
        self._stream.flush()


class Csv:
    """Writes CSV: a header, then one row per label in a ranking or set, or per failure.

    An image without an answer has one more row, of rank 0 and an empty label.
    """

    def __init__(self, stream: TextIO) -> None:
        self._rows = csv.writer(stream, lineterminator="\n")
        self._rows.writerow(["source", "rank", "label", "probability", "error"])

    def write(self, result: Result) -> None:
        """Write the rows of one result."""
        facts: dict[str, Any] = result.to_dict()
        if isinstance(result, LabelSet):
            pairs = zip(result.labels, result.probabilities, strict=True)
            facts["ranking"] = [{"label": name, "probability": p} for name, p in pairs]
        if isinstance(result, Prediction) and result.label is None:
            none = "" if result.none is None else f"{result.none:.6f}"
            self._rows.writerow([result.source, 0, "", none, ""])
        for rank, entry in enumerate(facts.get("ranking", ()), 1):
            probability = f"{entry['probability']:.6f}"
            self._rows.writerow([result.source, rank, entry["label"], probability, ""])
        if "error" in facts:
            self._rows.writerow([result.source, "", "", "", facts["error"]])


def can_encode(text: str, stream: TextIO) -> bool:
    """Return whether the encoding of a stream supports all characters of a text."""
    try:
        text.encode(stream.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def names_beside(path: Path) -> Path:
    """Return the path of the text file that lists the input of each embedding."""
    return path.with_name(f"{path.name}.txt")


def save_embeddings(path: Path, embeddings: NDArray[np.float32], names: Sequence[str]) -> None:
    """Write embeddings, float32 [n, d], as .npy, and their inputs to a text file.

    The text file has one line per row and is named by `names_beside`. Raises SaveError.
    """
    array = np.ascontiguousarray(embeddings)
    lines = "".join(f"{_on_one_line(name)}\n" for name in names)
    with write_atomically(names_beside(path)) as beside, write_atomically(path) as temporary:
        beside.write_text(lines, "utf-8", errors="surrogateescape")
        with temporary.open("wb") as file:
            # not np.save, whose error for a full disk has no errno
            header = np.lib.format.header_data_from_array_1_0(array)
            np.lib.format.write_array_header_1_0(file, header)
            file.write(array.data)


def _on_one_line(name: str) -> str:
    return (
        name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
        if set(name) & {"\n", "\r"}
        else name
    )
