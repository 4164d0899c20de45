"""Runs in forked children, and the comparison of their tables.

The process imports everything once and forks a child per run, because an import of torch takes
longer than a run. It never computes with torch or pyarrow itself: a fork of a process that did so
can hang.
"""

from __future__ import annotations

import faulthandler
import io
import json
import os
import random
import signal
import tarfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from pyarrow import parquet

from tests.bulk.support import Stub, contents, save_images
from tests.soak.faults import Fault, break_reads
from tests.support import NAMES
from zeroshot.bulk.folder import TEMPORARY
from zeroshot.bulk.job import label
from zeroshot.bulk.output import Output
from zeroshot.bulk.sinks import get_sink
from zeroshot.classifier import Classifier
from zeroshot.errors import SaveError
from zeroshot.head import Head

IMAGES, COPIES, PART_ROWS = 80, 16, 8
BROKEN = (3, 37)
SPLITS = (32, 64)  # two of three archives end at the end of a part
SOURCES = ("list", "tar", "tar.gz", "zip", "parquet")
FORMATS = ("parquet", "csv", "jsonl")
STOPPED, FULL, FAILED = 130, 74, 1  # exit codes
BLOCKED = (signal.SIGINT, signal.SIGTERM)
LONGEST = 60.0  # seconds of a run, after which it hangs


for _form in FORMATS:
    get_sink(_form)  # imported before the fork


class Slow(Stub):
    """Takes a millisecond per batch, so that a run can be killed in its middle."""

    def encode_pixels(self, pixels: Any, **options: Any) -> Any:
        time.sleep(0.001)
        return super().encode_pixels(pixels, **options)


@dataclass(frozen=True)
class Case:
    """A kind of run."""

    source: str
    form: str
    variant: str = "plain"  # or "embeddings" or "dedupe"
    shards: int = 1

    @property
    def name(self) -> str:
        """Return a name for files; runs with the same name write the same table."""
        shards = self.shards if self.variant == "dedupe" else 1
        return f"{self.source}-{self.form}-{self.variant}-{shards}"

    @property
    def options(self) -> dict[str, Any]:
        """Return the options of `label`."""
        found: dict[str, Any] = {"format": self.form, "part_rows": PART_ROWS}
        if self.variant == "embeddings":
            found |= {"embeddings": self.form != "csv"}
            found |= {"scores": "top" if self.form == "csv" else "all"}
        if self.source == "parquet":
            found |= {"column": "image", "keep": ["place"]}
        return found | {"dedupe": self.variant == "dedupe"}


@dataclass
class Inputs:
    """The same images as files, archives and tables."""

    folder: Path
    paths: dict[str, list[str]] = field(default_factory=dict)

    def write(self) -> None:
        """Write what is missing; call it in a child."""
        files = save_images(self.folder / "images", IMAGES, broken=BROKEN)
        files += files[:COPIES]
        contents_ = [(f"{place:05}.png", file.read_bytes()) for place, file in enumerate(files)]
        parts = [
            contents_[first:last]
            for first, last in zip((0, *SPLITS), (*SPLITS, len(files)), strict=True)
        ]
        paths = {"list": [str(file) for file in files]}
        for source, write in WRITERS.items():
            paths[source] = [str(self.folder / f"{n}.{source}") for n in range(len(parts))]
            for path, part in zip(paths[source], parts, strict=True):
                write(path, part)
        (self.folder / "paths.json").write_text(json.dumps(paths))

    def read(self) -> None:
        """Read the paths that `write` wrote."""
        self.paths = json.loads((self.folder / "paths.json").read_text())


def _write_tar(path: str, files: Sequence[tuple[str, bytes]]) -> None:
    with tarfile.open(path, "w:gz" if path.endswith("gz") else "w") as tar:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def _write_zip(path: str, files: Sequence[tuple[str, bytes]]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            archive.writestr(name, content)


def _write_parquet(path: str, files: Sequence[tuple[str, bytes]]) -> None:
    columns = {"image": [content for _, content in files], "place": list(range(len(files)))}
    parquet.write_table(pa.table(columns), path, row_group_size=24)


WRITERS: dict[str, Callable[[str, Sequence[tuple[str, bytes]]], None]] = {
    "tar": _write_tar,
    "tar.gz": _write_tar,
    "zip": _write_zip,
    "parquet": _write_parquet,
}


def fork(work: Callable[[], object], log: Path) -> int:
    """Do something in a child process; return its number. Its exit code says how it ended."""
    signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)  # fork hooks ignore exceptions
    child = os.fork()
    if child:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED)
        return child
    code = STOPPED  # KeyboardInterrupt, which may arrive anywhere
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, 2)
        faulthandler.dump_traceback_later(LONGEST / 2, file=2)
        torch.set_num_threads(1)
        try:
            work()
            code = 0
        except SaveError:
            code = FULL
        except Exception:
            code = FAILED
            traceback.print_exc()
    finally:
        os._exit(code)


def wait(child: int) -> int:
    """Return the exit code of a child, or minus the signal that ended it; end one that hangs."""
    end = time.monotonic() + LONGEST
    while time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return FAILED


def start(
    case: Case,
    inputs: Inputs,
    out: Path,
    *,
    shard: int = 0,
    fault: Fault | None = None,
    bad_reads: float = 0.0,
    retry: bool = False,
) -> int:
    """Start a run in a child process; return its number."""
    seed = random.randrange(1 << 30)

    def work() -> None:
        if fault is not None:
            fault.install()
        if bad_reads:
            break_reads(seed, bad_reads)
        head = Head(tuple(NAMES), torch.eye(3), 10.0, None, "fake", (("x",),) * 3, ("{}",), "plain")
        label(
            inputs.paths[case.source],
            out,
            classifier=Classifier(Slow(), head),
            progress=False,
            shard=f"{shard + 1}/{case.shards}",
            retry_errors=["io"] if retry else False,
            **case.options,
        )

    return fork(work, out.with_suffix(".log"))


@dataclass
class Audit:
    """How a table differs from that of an undisturbed run."""

    lost: int = 0
    doubled: int = 0
    differing: int = 0
    parts: int = 0  # that differ in a byte
    others: tuple[str, ...] = ()  # files that are left over, or differ otherwise

    @property
    def is_clean(self) -> bool:
        """Whether nothing differs."""
        return not (self.lost or self.doubled or self.differing or self.parts or self.others)


def compare(whole: Path, killed: Path) -> Audit:
    """Compare two tables; done in a child, because it reads the rows."""
    answer = killed.with_suffix(".audit")

    def work() -> None:
        found = count_differences(whole, killed, IMAGES + COPIES)
        answer.write_text(json.dumps(found))

    code = wait(fork(work, killed.with_suffix(".log")))
    if code != 0:
        return Audit(others=(f"the comparison ended with {code}",))
    found = json.loads(answer.read_text())
    return Audit(**found | {"others": tuple(found["others"])})


def count_differences(whole: Path, killed: Path, rows: int) -> dict[str, Any]:
    """Compare two tables, the first of this number of rows; return the fields of an Audit."""
    before, after = _rows(whole), _rows(killed)
    assert len(before) == rows
    counts = Counter(row for row, _ in after)
    known = dict(before)
    expected, found = contents(whole), contents(killed)
    others = [name for name in os.listdir(killed) if TEMPORARY.fullmatch(name) or "_lock" in name]
    others += [name for name in ("_SUCCESS.json",) if _facts(whole, name) != _facts(killed, name)]
    others += [
        file.name for file in whole.glob("_[ie]*") if _bytes(file) != _bytes(killed / file.name)
    ]
    return {
        "lost": len(known.keys() - counts.keys()),
        "doubled": sum(number - 1 for number in counts.values()),
        "differing": sum(known.get(row) != text for row, text in after),
        "parts": sum(expected.get(n) != found.get(n) for n in expected.keys() | found.keys()),
        "others": others,
    }


def _rows(folder: Path) -> list[tuple[int, str]]:
    rows = Output.open(folder).rows()
    return [
        (int(row["row"]) if "row" in row else place, repr(row)) for place, row in enumerate(rows)
    ]


def _facts(folder: Path, name: str) -> dict[str, Any]:
    content: dict[str, Any] = (
        json.loads((folder / name).read_text()) if (folder / name).exists() else {}
    )
    return {key: value for key, value in content.items() if "second" not in key}


def _bytes(file: Path) -> bytes | None:
    return file.read_bytes() if file.exists() else None
