"""The state of a folder: rows, errors, missing parts, processes, throughput."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import zeroshot
from tests.bulk import tables
from zeroshot.bulk.folder import host
from zeroshot.bulk.status import read_status
from zeroshot.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tables.write_table(tmp_path / "labels")
    return tmp_path / "labels"


def test_a_complete_folder(folder: Path) -> None:
    found = read_status(folder)

    assert (found.rows, found.parts, found.is_complete) == (48, 6, True)
    assert found.errors == {"truncated": found.failed}
    assert found.failed == 2 * (24 // 5)
    assert found.duplicates == 6
    assert found.images_per_second == 24
    assert str(found).splitlines() == [
        f"{folder}: complete",
        "rows    48 in 6 parts",
        "errors  8 (truncated 8)",
        "copies  6 duplicates",
        "speed   24 images/s",
    ]


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_every_format_is_counted(
    form: str, tiny: zeroshot.Model, photos: list[Path], tmp_path: Path
) -> None:
    photos[2].write_bytes(b"no image")
    photos[4].write_bytes(photos[5].read_bytes())
    names = [str(path) for path in photos]
    classifier = tiny.classifier(["cat", "dog"], "{}")

    done = zeroshot.label(
        names, tmp_path / "out", classifier=classifier, part_rows=3, format=form, dedupe=True
    )

    found = read_status(tmp_path / "out")
    assert (found.rows, found.parts, found.is_complete) == (7, 3, True)
    assert found.errors == done.errors == {"not_image": 1}
    assert found.duplicates == done.duplicates == 1
    assert found.locks == ()


def test_missing_parts_are_named(folder: Path) -> None:
    (folder / "part-00001-000001.parquet").unlink()

    found = read_status(folder)

    assert found.gaps == ("part-00001-000001.parquet",)
    assert not found.is_complete
    assert found.rows == 38
    assert "missing 1 part: part-00001-000001.parquet" in str(found)
    assert "again to continue" in str(found)


def test_throughput_of_a_run_in_progress_is_that_of_the_last_parts(folder: Path) -> None:
    (folder / "_SUCCESS.json").unlink()
    for second, part in enumerate(sorted(folder.glob("part-*"))):
        os.utime(part, (second, second))

    assert read_status(folder).images_per_second == pytest.approx((48 - 10) / 5)


def test_one_part_gives_no_throughput(folder: Path) -> None:
    for file in [folder / "_SUCCESS.json", *sorted(folder.glob("part-*"))[1:]]:
        file.unlink()

    assert read_status(folder).images_per_second is None


@pytest.mark.parametrize(
    ("pid", "running"), [(os.getpid(), True), (2**30, False)], ids=["running", "ended"]
)
def test_a_process_is_shown_with_the_age_of_its_lock(pid: int, running: bool, folder: Path) -> None:
    (folder / "_SUCCESS.json").unlink()
    lock = folder / "_lock-1-of-2.json"
    lock.write_text(json.dumps({"host": host(), "pid": pid, "id": "x"}))
    os.utime(lock, (1, 1))

    found = read_status(folder)

    assert [(each.pid, each.is_running) for each in found.locks] == [(pid, running)]
    assert found.locks[0].age > 1e9
    assert ("running pid" in str(found)) is running
    assert ("again to continue" in str(found)) is not running


def test_a_damaged_lock_is_ignored(folder: Path) -> None:
    (folder / "_lock-1-of-1.json").write_text("{")

    assert read_status(folder).locks == ()


def test_plain_data_can_be_written_as_json(folder: Path) -> None:
    facts = json.loads(json.dumps(read_status(folder).to_dict()))

    assert facts["rows"] == 48
    assert facts["errors"] == {"truncated": 8}


def test_parts_without_rows_are_counted(tmp_path: Path) -> None:
    tables.write_table(tmp_path / "labels", parts=(10, 0), sources=1)

    found = read_status(tmp_path / "labels")

    assert (found.rows, found.parts) == (10, 2)


def test_an_empty_folder_of_a_run_has_no_rows(folder: Path) -> None:
    for file in [folder / "_SUCCESS.json", *folder.glob("part-*")]:
        file.unlink()

    found = read_status(folder)

    assert (found.rows, found.parts, len(found.gaps)) == (0, 0, 6)
    assert "missing 6 parts" in str(found)


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"zeroshot\.label wrote"):
        read_status(tmp_path)


def test_a_damaged_part_is_named(folder: Path) -> None:
    (folder / "part-00000-000000.parquet").write_bytes(b"PAR1")

    with pytest.raises(InputError, match=r"part-00000-000000\.parquet"):
        read_status(folder)
