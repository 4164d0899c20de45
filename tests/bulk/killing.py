"""Run jobs in child processes, kill them at random moments, and compare the tables.

The process imports everything once and forks a child per run: an import takes longer than a run.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import torch

from tests.bulk.jobs import run
from tests.bulk.support import Stream, Stub, contents
from tests.support import NAMES
from zeroshot.bulk import job, running  # noqa: F401  # imported before the fork
from zeroshot.classifier import Classifier
from zeroshot.head import Head

PART_ROWS = 16
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGINT, signal.SIGTERM)


class Slow(Stub):
    """Takes a millisecond per batch, so that a run can be killed in its middle."""

    def encode_pixels(self, pixels: Any, **options: Any) -> Any:
        time.sleep(0.001)
        return super().encode_pixels(pixels, **options)


def start(work: dict[str, Any], out: Path, shard: str | None = None) -> int:
    """Start a run in a child process; return its number."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        torch.set_num_threads(1)
        encoder = Slow()
        head = Head(tuple(NAMES), torch.eye(3), 10.0, None, "fake", (("x",),) * 3, ("{}",), "plain")
        classifier = Classifier(encoder, head)
        images = [Path(path).read_bytes() for path in work["inputs"]]
        sources = [Stream(images)] if work["stream"] else None
        options = {"form": work["form"]} if work["stream"] else {"format": work["form"]}
        run(
            [Path(path) for path in work["inputs"]],
            out,
            sources=sources,
            classifier=classifier,
            part_rows=PART_ROWS,
            dedupe=work["dedupe"],
            shard=shard,
            **options,
        )
        code = 0
    except KeyboardInterrupt:
        code = 130
    finally:
        os._exit(code)


def wait(child: int) -> int:
    """Return the exit code of a child, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_and_compare(work: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Kill runs into a folder, finish it, and compare it with an undisturbed one."""
    draw = random.Random(work["seed"])
    started = time.monotonic()
    assert wait(start(work, folder / "whole")) == 0
    duration = time.monotonic() - started
    kills = 0
    codes = []
    while kills < work["kills"]:
        child = start(work, folder / "killed")
        time.sleep(draw.uniform(0.2, 0.9) * duration / 2)
        number = draw.choice(SIGNALS)
        os.kill(child, number)
        codes.append(wait(child))
        kills += codes[-1] != 0
        if codes[-1] == 0:  # it was faster: remove a part, so that there is work
            max((folder / "killed").glob("part-*")).unlink()
    assert wait(start(work, folder / "killed")) == 0
    assert wait(start(work, folder / "killed")) == 0
    whole, killed = contents(folder / "whole"), contents(folder / "killed")
    return {
        "kills": kills,
        "parts": len(whole),
        "equal": whole == killed,
        "strays": [p.name for p in (folder / "killed").iterdir() if p.name.startswith(".")],
        "locks": [p.name for p in (folder / "killed").glob("_lock*")],
        "codes": codes,
    }


def share_and_compare(work: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run three shards and a run of the same shard at once."""
    shards = ["1/3", "2/3", "3/3", "3/3"]
    codes = [wait(child) for child in [start(work, folder / "shared", s) for s in shards]]
    whole, shared = contents(folder / "whole"), contents(folder / "shared")
    has_success = (folder / "shared" / "_SUCCESS.json").exists()
    return {"codes": codes, "equal": whole == shared, "success": has_success}


if __name__ == "__main__":
    pa.array(["a"])  # imports pandas if it is installed, before the forks
    request = json.loads(sys.argv[1])
    found = [kill_and_compare(work, Path(work["folder"])) for work in request]
    found[0]["shards"] = share_and_compare(request[0], Path(request[0]["folder"]))
    print(json.dumps(found))
