"""Read a folder that `zeroshot.label` wrote, complete or not."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from zeroshot.arguments import file_path
from zeroshot.bulk.folder import END, RUN, SUCCESS, parse_part, part_name
from zeroshot.bulk.rows import Columns
from zeroshot.bulk.sinks import Sink, get_sink
from zeroshot.errors import InputError, shortened


@dataclass(frozen=True, order=True)
class Part:
    """One file of the table: rows chunk * part_rows and following of a source."""

    source: int
    chunk: int
    path: Path


FIELDS: dict[str, type] = {  # of `_run.json`
    **dict.fromkeys(("labels", "fingerprint", "skipped"), dict),
    **dict.fromkeys(("format", "scores", "working_folder"), str),
    **dict.fromkeys(("sources", "rows", "inputs", "kept", "kept_types"), list),
    **dict.fromkeys(("top", "part_rows"), int),
    "embeddings": bool,
}


def _check_run(run: Any) -> None:
    """Raise ValueError unless this is the content of a `_run.json`."""
    if not isinstance(run, dict):
        raise ValueError("expected an object")
    for name, kind in FIELDS.items():
        if type(run.get(name)) is not kind:
            raise ValueError(f"expected {kind.__name__} in {name}")
    lists = [run[name] for name in ("sources", "rows", "inputs")]
    if len({*map(len, lists)}) > 1 or not all(isinstance(each, dict) for each in run["sources"]):
        raise ValueError("the lists of inputs differ in length")
    numbers = [run["part_rows"], run["top"], *run["rows"], run.get("limit")]
    if run["embeddings"]:
        numbers.append(run["dim"])
    if run["part_rows"] < 1 or not all(n is None or type(n) is int for n in numbers):
        raise ValueError("numbers of rows are invalid")
    if not all(isinstance(name, str) for name in [*run["kept"], *run["kept_types"]]):
        raise ValueError("names of columns are invalid")


class Output:
    """A folder of parts; use `Output.open`."""

    def __init__(self, folder: Path, run: dict[str, Any]) -> None:
        self.folder = folder
        self.run = run

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Output:
        """Open an output folder.

        Args:
            folder: The folder.

        Raises:
            InputError: There is no such folder, or `zeroshot.label` did not write it.

        Example:
            >>> zeroshot.label(["cat.jpg"], "pets", labels=["cat", "dog"], model="mini").rows
            1
            >>> Output.open("pets").run["top"]
            5
        """
        path = file_path(folder)
        try:
            run = json.loads((path / RUN).read_text("utf-8"))
            _check_run(run)
        except (OSError, ValueError) as error:
            what = "no such folder" if not path.is_dir() else f"{RUN} is missing or damaged"
            raise InputError(
                f"{shortened(str(path), 300)}: expected a folder that zeroshot.label wrote, but "
                f"{what}; check the path, or restore the file"
            ) from error
        return cls(path, run)

    @property
    def sink(self) -> Sink:
        """The module that reads and writes the parts."""
        return get_sink(self.run["format"])

    @cached_property
    def columns(self) -> Columns:
        """What the columns contain."""
        run = self.run
        return Columns(
            labels=tuple(run["labels"]),
            top=run["top"],
            dim=run["dim"] if run["embeddings"] else None,
            has_scores=run["scores"] == "all",
            kept=tuple(run["kept"]),
            kept_types=tuple(run["kept_types"]),
        )

    def parts(self) -> list[Part]:
        """Return the parts that exist, in the order of their rows."""
        found = []
        for name in os.listdir(self.folder):
            parsed = parse_part(name)
            if parsed is not None and parsed[2] == self.run["format"]:
                if parsed[0] >= len(self.run["rows"]):
                    raise InputError(
                        f"{shortened(str(self.folder / name), 300)}: expected parts of "
                        f"{len(self.run['rows'])} inputs, got one of another table; move it to "
                        "another folder"
                    )
                found.append(Part(*parsed[:2], self.folder / name))
        return sorted(found)

    def path_of(self, source: int, chunk: int) -> Path:
        """Return the path of a part."""
        return self.folder / part_name(source, chunk, self.run["format"])

    def count_rows(self, source: int) -> int | None:
        """Return the number of rows of a source, None for a stream that was not read to its end."""
        known: int | None = self.run["rows"][source]
        if known is not None:
            return known
        try:
            content = json.loads(self.end_of(source).read_text("utf-8"))
            return int(content["rows"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def end_of(self, source: int) -> Path:
        """Return the path of the file that says where a stream ended."""
        return self.folder / f"{END}-{source:05}.json"

    def count_chunks(self, source: int) -> int | None:
        """Return the number of parts of a source, None if it is not known yet.

        The last part of a stream may be empty.
        """
        rows = self.count_rows(source)
        if rows is None:
            return None
        if self.run["rows"][source] is None:
            return rows // int(self.run["part_rows"]) + 1
        return -(-rows // int(self.run["part_rows"]))

    def find_root(
        self, root: str | os.PathLike[str] | None = None
    ) -> str | os.PathLike[str] | None:
        """Return where relative paths start: `root`, or the folder of the run if it exists.

        In another folder, other images may have the same names.
        """
        before: str = self.run["working_folder"]
        return before if root is None and os.path.isdir(before) else root

    def check_rows(self, part: Part, found: int) -> None:
        """Raise InputError unless a part can have so many rows."""
        size, chunks = int(self.run["part_rows"]), self.count_chunks(part.source)
        expected = size
        if chunks is not None and part.chunk >= chunks - 1:
            expected = (self.count_rows(part.source) or 0) - part.chunk * size
        is_open = chunks is None and found < size  # perhaps the last part of a stream
        if found != expected and not is_open:
            raise InputError(
                f"{shortened(str(part.path), 300)}: expected {max(0, expected)} rows, got {found}; "
                "delete it and run `zeroshot label` again, which computes the part if the table "
                "has one"
            )

    def gaps(self) -> list[Part]:
        """Return the parts that are missing; of a stream without an end the next one."""
        there = {(part.source, part.chunk) for part in self.parts()}
        missing = []
        for source in range(len(self.run["rows"])):
            chunks = self.count_chunks(source)
            if chunks is None:
                chunks = max((chunk + 1 for u, chunk in there if u == source), default=0) + 1
            missing += [(source, chunk) for chunk in range(chunks) if (source, chunk) not in there]
        return [Part(*each, self.path_of(*each)) for each in missing]

    @property
    def success(self) -> dict[str, Any] | None:
        """What `_SUCCESS.json` says, or None without it."""
        try:
            content: dict[str, Any] = json.loads((self.folder / SUCCESS).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return content

    @property
    def is_complete(self) -> bool:
        """Whether the run ended and no part is missing."""
        return self.success is not None and not self.gaps()

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of all parts, in order, as plain values by the names of the columns.

        Raises MissingPackage without the package of the format, and InputError for a damaged part.
        """
        for part in self.parts():
            yield from self.sink.read(part.path)
