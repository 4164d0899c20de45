"""Runs that are killed at random moments."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bulk.support import save_images

ROOT = Path(__file__).parents[2]
KILLS = 4  # of each kind of run


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What became of each kind of run."""
    folder = tmp_path_factory.mktemp("kills")
    paths = [str(path) for path in save_images(folder / "images", 150, broken=[3, 77])]
    paths += paths[:30]  # duplicates
    kinds = {
        "parquet": ("parquet", False, False),
        "csv": ("csv", False, False),
        "jsonl": ("jsonl", False, True),
        "stream": ("parquet", True, False),
    }
    request = []
    for seed, (name, (form, stream, dedupe)) in enumerate(kinds.items()):
        (folder / name).mkdir()
        work = {"form": form, "stream": stream, "dedupe": dedupe, "seed": seed}
        request.append(work | {"inputs": paths, "kills": KILLS, "folder": str(folder / name)})
    done = subprocess.run(
        [sys.executable, "-m", "tests.bulk.killing", json.dumps(request)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(zip(kinds, json.loads(done.stdout.splitlines()[-1]), strict=True))


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl", "stream"])
def test_a_killed_run_gives_the_bytes_of_an_undisturbed_one(
    kind: str, found: dict[str, dict[str, Any]]
) -> None:
    assert found[kind]["kills"] == KILLS
    assert found[kind]["parts"] == 12
    assert found[kind]["equal"], found[kind]


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl", "stream"])
def test_no_temporary_file_and_no_lock_is_left(kind: str, found: dict[str, dict[str, Any]]) -> None:
    assert found[kind]["strays"] == found[kind]["locks"] == []


def test_shards_that_start_at_once_make_one_table(found: dict[str, dict[str, Any]]) -> None:
    shards = found["parquet"]["shards"]

    assert shards["equal"]
    assert shards["success"]
    # two processes of one shard: one is refused, or comes when the other has finished
    assert shards["codes"][:2] == [0, 0]
    assert 0 in shards["codes"][2:]
