"""No file runs code, escapes our errors, takes more memory than its size and 64 MB, or hangs."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.checkpoint import hostile
from zeroshot.checkpoint import reader
from zeroshot.checkpoint.formats import files
from zeroshot.errors import ModelNotFound

CASES = {case.name: case for case in hostile.cases()}
ROOM = 64 * 2**20  # bytes beyond the file's size
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Every case, read in a child process under an audit hook."""
    folder = tmp_path_factory.mktemp("hostile")
    canary, good = folder / "canary", folder / "good"
    good.mkdir()
    for kind, (suffix, make) in hostile.GOOD_FILES.items():
        (good / f"{kind}{suffix}").write_bytes(make())
    paths = []
    for case in CASES.values():
        paths.append(folder / f"{case.name}{case.suffix}")
        case.write(paths[-1], canary)
    assert not canary.exists()
    done = subprocess.run(
        [sys.executable, "-m", "tests.checkpoint.trial", str(good)],
        input="".join(f"{path}\n" for path in paths),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert not canary.exists(), "a file was executed"
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    return {Path(report["path"]).stem: report for report in reports}


def test_there_are_enough_cases_and_each_was_tried(trials: dict[str, Any]) -> None:
    assert len(CASES) >= 60
    assert trials.keys() == CASES.keys()


def test_no_file_runs_code(trials: dict[str, Any]) -> None:
    assert {name: t["seen"] for name, t in trials.items() if t["seen"]} == {}


def test_no_exception_is_outside_our_tree(trials: dict[str, Any]) -> None:
    escaped = {
        name: (t["reader"], t["whole"])
        for name, t in trials.items()
        if any(word in t["reader"] + t["whole"] for word in ("ESCAPED", "DIED"))
    }
    assert escaped == {}


def test_each_file_is_refused_unless_what_is_wrong_with_it_goes_unread(
    trials: dict[str, Any],
) -> None:
    wrong = {
        name: trials[name]["reader"]
        for name, case in CASES.items()
        if (trials[name]["reader"] == "read") != case.harmless
    }
    assert wrong == {}


def test_no_file_takes_more_memory_than_its_size_and_64_mb(trials: dict[str, Any]) -> None:
    greedy = {
        name: f"{t['memory'] / 2**20:.0f} MB for a file of {t['size'] / 2**20:.1f}"
        for name, t in trials.items()
        if t["memory"] > t["size"] + ROOM
    }
    assert greedy == {}


def test_no_file_takes_five_seconds(trials: dict[str, Any]) -> None:
    assert {name: t["seconds"] for name, t in trials.items() if t.get("seconds", 99) > 5} == {}


# ---- the traps are live


def test_the_pickles_would_run_in_pythons_own_reader(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    program = hostile.PROTO + hostile.routes(canary)["REDUCE"] + hostile.STOP

    pickle.loads(program)

    assert canary.exists()


@pytest.mark.filterwarnings(r"ignore:`torch\.jit\.")
def test_the_torchscript_archive_would_run_in_torchs_own_reader(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    hostile.setstate_archive(tmp_path / "evil.pt", canary)
    assert not canary.exists()

    torch.jit.load(str(tmp_path / "evil.pt"))

    assert canary.exists()


@pytest.mark.parametrize("kind", hostile.GOOD_FILES)
def test_the_good_files_are_read(kind: str, tmp_path: Path) -> None:
    suffix, make = hostile.GOOD_FILES[kind]
    path = tmp_path / f"good{suffix}"
    path.write_bytes(make())

    found = files.read_content(path).tensors

    assert {name: tuple(t.shape) for name, t in found.items()} == {"w": (4,), "x": (2, 3)}


# ---- what is no file at all


def test_a_fifo_a_folder_and_a_loop_of_links_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.pt")
    (tmp_path / "empty").mkdir()
    (tmp_path / "loop.pt").symlink_to(tmp_path / "loop.pt")
    for name in ("fifo.pt", "empty", "loop.pt", "absent.pt", "a\0b.pt"):
        with pytest.raises(ModelNotFound):
            reader.read(tmp_path / name)


def test_a_link_to_a_good_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(hostile.good_safetensors())
    (tmp_path / "model.safetensors").symlink_to(tmp_path / "blob")

    assert set(files.read_content(files.find_weights(tmp_path)).tensors) == {"w", "x"}
