"""Read hostile files, each in its own process, under an audit hook.

    python -m tests.checkpoint.trial FOLDER < list of paths, one a line

Prints one JSON object a line: the verdict of the file reader and of all of `read`, seconds of CPU
time, peak memory above that of the process before, and the forbidden events that the hook saw.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch

from tests.checkpoint import forms
from zeroshot.checkpoint import reader
from zeroshot.checkpoint.formats import files
from zeroshot.errors import ZeroshotError
from zeroshot.spec import PreprocessConfig, Published

TIMEOUT = 60.0  # seconds after which a child is killed, however busy the machine
HINTS = Published("quick_gelu", PreprocessConfig(224))
FORBIDDEN = (
    "os.", "subprocess.", "pty.", "socket.", "ctypes.", "marshal.", "pickle.", "shutil.", "import",
    "exec", "compile", "code.", "webbrowser.", "urllib.", "winreg.",
)  # fmt: skip
ALLOWED = ("os.listdir", "os.scandir", "os.stat")  # folders are listed


def main() -> None:
    torch.set_num_threads(1)
    warm_up(Path(sys.argv[1]))
    for line in sys.stdin:
        print(json.dumps(attempt(Path(line.rstrip("\n")))), flush=True)


def warm_up(folder: Path) -> None:
    """Import whatever reading imports, so that any later import is caused by a file."""
    for path in sorted(folder.iterdir()):
        verdict(lambda path=path: files.read_content(path))
        verdict(lambda path=path: reader.read(path, HINTS).weights.check())
    forms.ours(forms.VIT, forms.tensors_of(forms.VIT), folder)
    reader.read(folder / "ours.safetensors").weights.check()


def verdict(action: Any) -> str:
    try:
        action()
    except ZeroshotError as error:
        return type(error).__name__
    except BaseException as error:  # this is what the report is for
        return f"ESCAPED {type(error).__name__}: {error}"[:300]
    return "read"


def attempt(path: Path) -> dict[str, Any]:
    """Read one file in a forked child."""
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        os.close(ours)
        report = json.dumps(watched(path)).encode()
        os.write(theirs, report)
        os._exit(0)
    os.close(theirs)
    start, raw = time.monotonic(), b""
    while select.select([ours], [], [], max(0, start + TIMEOUT - time.monotonic()))[0]:
        piece = os.read(ours, 65536)
        if not piece:
            break
        raw += piece
    else:
        os.kill(child, signal.SIGKILL)
    os.close(ours)
    _, status = os.waitpid(child, 0)
    facts = json.loads(raw) if raw else {"reader": f"DIED {status}", "whole": "", "seen": []}
    return {"path": str(path), "size": path.stat().st_size} | facts


def watched(path: Path) -> dict[str, Any]:
    seen: list[str] = []
    watching = True

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if not watching or event in ALLOWED:
            return
        writes = event == "open" and (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes or event.startswith(FORBIDDEN):
            seen.append(f"{event} {arguments!r}"[:200])
            raise RuntimeError(f"a file made us {event}")

    sys.addaudithook(hook)
    before, start = resident(), time.process_time()
    content = verdict(lambda: files.read_content(path))
    whole = content
    if content == "read":
        whole = verdict(lambda: reader.read(path, HINTS).weights.check())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    watching = False
    return {
        "reader": content,
        "whole": whole,
        "seconds": time.process_time() - start,
        "memory": peak - before,
        "seen": seen,
    }


def resident() -> int:
    """Return the bytes of memory that this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


if __name__ == "__main__":
    main()
