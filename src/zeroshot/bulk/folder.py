"""Write the files of an output folder: atomically, durably, and never over files of others."""

from __future__ import annotations

import errno
import json
import os
import re
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from zeroshot.bulk.sinks import SINKS
from zeroshot.errors import InputError, SaveError, ZeroshotError, shortened

RUN, SUCCESS, INPUTS, END, LOCK = "_run.json", "_SUCCESS.json", "_inputs", "_end", "_lock"
PART = re.compile(rf"part-(\d{{5,}})-(\d{{6,}})\.({'|'.join(SINKS)})")
OURS = re.compile(
    r"_run\.json|_SUCCESS\.json|_end-\d{5,}\.json|_lock-\d+-of-\d+\.json"
    rf"|_inputs-\d{{5,}}-[0-9a-f]{{16}}\.(?:parquet|jsonl)|{PART.pattern}"
)
TEMPORARY = re.compile(
    r"\.(?:part|_\w+)[-.].*?(?:\.(?P<process>[0-9a-f]{8})-\d+)?\.(?P<host>[^.]+)\.(?P<pid>\d+)"
)
CLAIM_SECONDS = 3.0
PROCESS = uuid.uuid4().hex[:8]  # in containers, process 1 of a host comes back as process 1
IGNORED = (errno.EINVAL, errno.EACCES, errno.EBADF, errno.ENOTSUP)  # of fsync on a folder

_numbers = count(1)


def part_name(source: int, chunk: int, form: str) -> str:
    """Return the name of a part: part-00000-000000.parquet."""
    return f"part-{source:05}-{chunk:06}.{form}"


def check_name(folder: Path) -> None:
    """Raise InputError for a new folder with the suffix of a file: a file was expected."""
    if folder.suffix.lower().lstrip(".") in SINKS and not folder.is_dir():
        stem, name = shortened(folder.stem, 100), shortened(folder.name, 100)
        raise InputError(
            f"out={shortened(str(folder), 200)!r} must be a folder, got the name of a file; pass a "
            f"name such as {stem!r}; then `zeroshot merge {stem} {name}` writes one file"
        )


def parse_part(name: str) -> tuple[int, int, str] | None:
    """Return the source, chunk and format of a part's name, or None for another name."""
    found = PART.fullmatch(name)
    return (int(found[1]), int(found[2]), found[3]) if found else None


@cache
def host() -> str:
    """Return the name of this host, usable in file names."""
    return re.sub(r"[^A-Za-z0-9-]+", "-", socket.gethostname()) or "host"


def temporary_for(file: Path) -> Path:
    """Return a new temporary name of a file: it contains the host and the process.

    Threads of a process, and processes of two containers with equal numbers, may write at once.
    """
    return file.with_name(f".{file.name}.{PROCESS}-{next(_numbers)}.{host()}.{os.getpid()}")


def commit(file: Path, write: Callable[[Path], object]) -> None:
    r"""Write a file so that it has all of its content, or does not exist or change.

    `write` writes the file whose path it is given; its content is stored on the disk before the
    file gets its name.

    Args:
        file: The file to write or replace.
        write: Writes the content.

    Raises:
        SaveError: The folder is full or cannot be written; the temporary file is removed.

    Example:
        >>> commit(Path("table.csv"), lambda path: path.write_text("row\n"))
        >>> Path("table.csv").read_text()
        'row\n'
    """
    temporary = temporary_for(file)
    try:
        _write(temporary, write)
        os.replace(temporary, file)
        sync_folder(file.parent)
    except OSError as error:
        raise_for(file, error)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def commit_first(file: Path, write: Callable[[Path], object]) -> bool:
    """Write a file unless it exists; of several processes the first wins. Return whether it did.

    Raises SaveError as `commit` does.
    """
    temporary = temporary_for(file)
    try:
        _write(temporary, write)
        _link(temporary, file)
        sync_folder(file.parent)
    except FileExistsError:
        return False
    except OSError as error:
        raise_for(file, error)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    return True


def _link(temporary: Path, file: Path) -> None:
    """Give a file its name unless that exists; some file systems have no hard links."""
    try:
        os.link(temporary, file)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
            raise
        file.open("xb").close()  # the first process has the name; killed here, it leaves it empty
        os.replace(temporary, file)


def remove_claim(file: Path) -> None:
    """Remove an empty file that a killed process left, if no other process writes it now."""
    deadline = time.monotonic() + CLAIM_SECONDS
    with suppress(FileNotFoundError):
        while not file.stat().st_size:
            if time.monotonic() > deadline:
                file.unlink()
            time.sleep(0.05)


def _write(temporary: Path, write: Callable[[Path], object]) -> None:
    write(temporary)
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())


def raise_for(file: Path, error: OSError) -> None:
    """Raise an OSError of a write as SaveError; other errors of zeroshot stay as they are."""
    if isinstance(error, ZeroshotError):
        raise error
    raise SaveError(
        f"{shortened(str(file), 300)}: cannot write the file ({error.strerror or error}); check "
        "the free space and the permissions, then run the same command again: finished parts are "
        "kept",
        source=str(file),
    ) from error


def sync_folder(folder: Path) -> None:
    """Store the names in a folder on the disk, where the file system supports it."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in IGNORED:
            raise
    finally:
        os.close(descriptor)


def write_json(content: Mapping[str, Any]) -> Callable[[Path], object]:
    """Return a function for `commit` that writes JSON."""
    text = json.dumps(content, indent=1) + "\n"
    return lambda path: path.write_text(text, "utf-8")


def is_alive(pid: int) -> bool:
    """Return whether a process of this host runs."""
    if pid == os.getpid():
        return True
    if os.name == "nt":
        return True  # os.kill would end it
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it belongs to another user
        return True
    return True


def start_of(pid: int) -> str | None:
    """Return when a process of this host started, as text to compare; None if it is unknown."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
        return text.rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


@cache
def process_space() -> str | None:
    """Return what numbers of processes belong to: the boot and the container, if it is known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except (OSError, ValueError):
        return None


def remove_strays(folder: Path) -> list[str]:
    """Remove temporary files of processes of this host that ended; return their names."""
    removed = []
    for name in sorted(os.listdir(folder)):
        found = TEMPORARY.fullmatch(name)
        if found is None or found["host"] != host():
            continue
        pid = int(found["pid"])
        is_own = pid == os.getpid() and found["process"] in (None, PROCESS)
        if is_own or (pid != os.getpid() and is_alive(pid)):
            continue
        with suppress(OSError):
            (folder / name).unlink()
            removed.append(name)
    return removed


def find_ours(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder that a run wrote, its `_run.json` last."""
    names = [n for n in sorted(os.listdir(folder)) if OURS.fullmatch(n) and n != RUN]
    yield from (folder / name for name in [*names, RUN] if (folder / name).is_file())
