"""Fifty killed runs of labeling; `make soak` kills 500."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyarrow")

from tests.bulk.jobs import run
from tests.bulk.support import save_images
from tests.soak.runs import count_differences

ROOT = Path(__file__).parents[2]
KILLS = 50
NONE = (
    "rows lost",
    "rows doubled",
    "rows that differ",
    "parts that differ",
    "other files that differ or are left over",
)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("soak")
    command = [sys.executable, "-m", "tests.soak.kills", "--kills", str(KILLS), "--no-disks"]
    command += ["--work", str(folder / "work"), "--json", str(folder / "counts.json")]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert (folder / "counts.json").exists(), done.stderr[-3000:]
    content: dict[str, Any] = json.loads((folder / "counts.json").read_text())
    return content


def test_no_row_is_lost_doubled_or_changed_by_kills_and_disk_errors(found: dict[str, Any]) -> None:
    assert found["problems"] == []
    assert {name: found["counts"][name] for name in NONE} == dict.fromkeys(NONE, 0)


def test_runs_were_killed_at_random_moments_and_between_the_steps_of_a_write(
    found: dict[str, Any],
) -> None:
    assert found["counts"]["kills at random moments"] >= KILLS
    assert found["counts"]["kills between the steps of a write"] > 0
    assert found["counts"]["ENOSPC or EIO of a write"] > 0


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same table, twice."""
    folder = tmp_path_factory.mktemp("tables")
    images = save_images(folder / "images", 40)
    run(images, folder / "whole", part_rows=16)
    shutil.copytree(folder / "whole", folder / "copy")
    return folder / "whole", folder / "copy"


def test_equal_tables_have_no_differences(tables: tuple[Path, Path]) -> None:
    assert not any(count_differences(*tables, rows=40).values())


def test_a_missing_part_is_counted_as_lost_rows(tables: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(tables[1], tmp_path / "out")
    (tmp_path / "out" / "part-00000-000002.parquet").unlink()

    counts = count_differences(tables[0], tmp_path / "out", rows=40)

    assert (counts["lost"], counts["parts"]) == (8, 1)


def test_a_part_in_the_place_of_another_is_counted(
    tables: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(tables[1], out)
    shutil.copy(out / "part-00000-000000.parquet", out / "part-00000-000001.parquet")

    counts = count_differences(tables[0], out, rows=40)

    assert (counts["lost"], counts["doubled"], counts["parts"]) == (16, 16, 1)


def test_files_that_are_left_over_are_counted(tables: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(tables[1], out)
    (out / ".part-00000-000001.parquet.host.1").write_bytes(b"")
    (out / "_SUCCESS.json").unlink()

    names = [".part-00000-000001.parquet.host.1", "_SUCCESS.json"]
    assert count_differences(tables[0], out, rows=40)["others"] == names
