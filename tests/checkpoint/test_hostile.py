"""Hostile files run no code, raise only zeroshot errors, and stay within time and memory limits."""

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
from zeroshot.checkpoint.formats import files

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


def test_every_case_was_read(trials: dict[str, Any]) -> None:
    assert len(CASES) >= 60
    assert trials.keys() == CASES.keys()


def test_no_file_runs_code(trials: dict[str, Any]) -> None:
    assert {name: t["seen"] for name, t in trials.items() if t["seen"]} == {}


def test_every_exception_is_a_zeroshot_error(trials: dict[str, Any]) -> None:
    escaped = {
        name: (t["reader"], t["whole"])
        for name, t in trials.items()
        if any(word in t["reader"] + t["whole"] for word in ("ESCAPED", "DIED"))
    }
    assert escaped == {}


def test_every_file_is_rejected_unless_its_bad_part_is_never_read(
    trials: dict[str, Any],
) -> None:
    wrong = {
        name: trials[name]["reader"]
        for name, case in CASES.items()
        if (trials[name]["reader"] == "read") != case.harmless
    }
    assert wrong == {}


def test_memory_is_at_most_the_file_size_plus_64_mib(trials: dict[str, Any]) -> None:
    greedy = {
        name: f"{t['memory'] / 2**20:.0f} MB for a file of {t['size'] / 2**20:.1f}"
        for name, t in trials.items()
        if t["memory"] > t["size"] + ROOM
    }
    assert greedy == {}


def test_no_file_takes_five_seconds(trials: dict[str, Any]) -> None:
    assert {name: t["seconds"] for name, t in trials.items() if t.get("seconds", 99) > 5} == {}


def test_hostile_pickle_runs_code_in_python_pickle(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    program = hostile.PROTO + hostile.routes(canary)["REDUCE"] + hostile.STOP

    pickle.loads(program)

    assert canary.exists()


@pytest.mark.filterwarnings(r"ignore:`torch\.jit\.")
def test_hostile_torchscript_runs_code_in_torch_jit_load(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    hostile.setstate_archive(tmp_path / "evil.pt", canary)
    assert not canary.exists()

    torch.jit.load(str(tmp_path / "evil.pt"))

    assert canary.exists()


@pytest.mark.parametrize("kind", hostile.GOOD_FILES)
def test_valid_files_are_read(kind: str, tmp_path: Path) -> None:
    suffix, make = hostile.GOOD_FILES[kind]
    path = tmp_path / f"good{suffix}"
    path.write_bytes(make())

    found = files.read_content(path).tensors

    assert {name: tuple(t.shape) for name, t in found.items()} == {"w": (4,), "x": (2, 3)}
