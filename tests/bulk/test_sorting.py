"""Images are sorted into folders, twice the same, and back."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import pytest

from zeroshot.bulk import placement, sorting
from zeroshot.bulk.placement import Mode
from zeroshot.bulk.rows import number_row
from zeroshot.bulk.sorting import Plan, apply_sort, plan_rows, undo_sort
from zeroshot.bulk.undo_log import LOG_NAME
from zeroshot.errors import InputError, SaveError

MODES = get_args(Mode)
ROOT = Path(__file__).parents[2]


def tree(folder: Path) -> dict[str, bytes | str]:
    """Return the content of every file and the target of every link."""
    return {
        str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def row(source: str, label: str | None = "cat", p: float = 0.9, **more: Any) -> dict[str, Any]:
    return {"source": source, "label": label, "probability": p, "error_kind": None, **more}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Four files, two of which have the same name."""
    folder = tmp_path / "photos"
    for name in ("a.jpg", "b.jpg", "trip/a.jpg", "trip/c.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


ROWS = [
    row("a.jpg"),
    row("b.jpg", "dog"),
    row("trip/a.jpg", p=0.8),
    row("trip/c.jpg", p=0.2),
]


def plan(photos: Path, rows: list[dict[str, Any]] = ROWS, **options: Any) -> Plan:
    return plan_rows(rows, photos.parent / "sorted", root=photos, min_probability=0.5, **options)


@pytest.mark.parametrize("mode", MODES)
def test_images_are_sorted_by_label(mode: Mode, photos: Path) -> None:
    before = tree(photos)

    done = apply_sort(plan(photos, mode=mode))

    into = photos.parent / "sorted"
    assert (done.placed, done.present, done.failed) == (4, 0, 0)
    found = {path.relative_to(into).as_posix(): path.read_bytes() for path in into.glob("*/*")}
    assert found == {
        "cat/a.jpg": b"a.jpg",
        "cat/a_2.jpg": b"trip/a.jpg",
        "dog/b.jpg": b"b.jpg",
        "unsorted/c.jpg": b"trip/c.jpg",
    }
    assert tree(photos) == ({} if mode == "move" else before)


@pytest.mark.parametrize("mode", MODES)
def test_undo_restores_the_tree(mode: Mode, photos: Path) -> None:
    before = tree(photos.parent)
    apply_sort(plan(photos, mode=mode))

    undone = undo_sort(photos.parent / "sorted")

    assert (undone.restored, undone.kept) == (4, ())
    assert tree(photos.parent) == before
    assert not (photos.parent / "sorted").exists()


@pytest.mark.parametrize("mode", MODES)
def test_a_second_run_changes_nothing(mode: Mode, photos: Path) -> None:
    apply_sort(plan(photos, mode=mode))
    before = tree(photos.parent)

    again = plan(photos, mode=mode)

    assert again.actions == ()
    assert again.present == 4
    assert apply_sort(again).placed == 0
    assert tree(photos.parent) == before


@pytest.mark.parametrize("mode", ["link", "copy"])
def test_a_second_run_without_the_log_changes_nothing(mode: Mode, photos: Path) -> None:
    apply_sort(plan(photos, mode=mode))
    (photos.parent / "sorted" / LOG_NAME).unlink()

    assert plan(photos, mode=mode).actions == ()


@pytest.mark.parametrize("mode", MODES)
def test_an_existing_different_file_is_not_overwritten(mode: Mode, photos: Path) -> None:
    other = photos.parent / "sorted" / "dog" / "B.JPG"  # equal for macOS and Windows
    other.parent.mkdir(parents=True)
    other.write_bytes(b"other")
    before = tree(photos.parent)

    apply_sort(plan(photos, mode=mode))

    assert other.read_bytes() == b"other"
    assert (other.parent / "b_2.jpg").read_bytes() == b"b.jpg"
    undo_sort(photos.parent / "sorted")
    assert tree(photos.parent) == before


def test_a_file_made_after_the_plan_is_not_overwritten(photos: Path) -> None:
    made = plan(photos, mode="move")
    other = photos.parent / "sorted" / "dog" / "b.jpg"
    other.parent.mkdir(parents=True)
    other.write_bytes(b"other")

    done = apply_sort(made)

    assert (done.placed, done.failed) == (3, 1)
    assert done.failures[0][0] == str(photos / "b.jpg")
    assert other.read_bytes() == b"other"
    undo_sort(photos.parent / "sorted")
    assert other.read_bytes() == b"other"
    assert (photos / "b.jpg").read_bytes() == b"b.jpg"


def test_a_plan_writes_nothing_and_can_be_printed(photos: Path) -> None:
    rows = [*ROWS, row("gone.jpg"), row("https://example.org/a.jpg"), row("x", error_kind="io")]

    text = str(plan(photos, rows, mode="copy"))

    assert not (photos.parent / "sorted").exists()
    assert text.splitlines() == [
        f"copy 4 files into {photos.parent / 'sorted'}",
        "  cat               2",
        "  dog               1",
        "  unsorted          1",
        "numbered (same name): 1",
        "skipped, URL: 1",
        "skipped, error row: 1",
        "skipped, file not found: 1",
    ]


def test_unsure_images_stay_if_there_is_no_folder_for_them(photos: Path) -> None:
    made = plan(photos, [*ROWS, row("b.jpg", None)], unknown=None)

    assert made.skipped == {"below min_probability or no answer": 2}
    assert set(made.counts) == {"cat", "dog"}


def test_members_of_archives_and_frames_are_skipped(photos: Path) -> None:
    (photos / "film.mp4").touch()
    rows = [
        row("a.jpg", row=number_row(1, 0)),
        row("film.mp4#t=12.500", row=number_row(2, 0)),
        row("film.mp4#t=1.000"),
    ]

    made = plan(photos, rows, kinds=("list", "zip", "video"))

    assert made.actions == ()
    assert made.skipped == {
        "inside another file or remote (zip)": 1,
        "inside another file or remote (video)": 1,
        "inside another file": 1,
    }


def test_an_image_that_is_listed_twice_is_sorted_once(photos: Path) -> None:
    made = plan(photos, [row("a.jpg"), row("a.jpg", "dog"), row("trip/../a.jpg")])

    assert len(made.actions) == 1
    assert made.skipped == {"listed twice": 2}


def test_images_in_their_folder_already_stay(photos: Path) -> None:
    (photos / "cat").mkdir()
    (photos / "a.jpg").rename(photos / "cat" / "a.jpg")
    before = tree(photos)

    made = plan_rows([row("cat/a.jpg")], photos, mode="move", root=photos)

    assert (made.actions, made.present) == ((), 1)
    apply_sort(made)
    undo_sort(photos)
    assert tree(photos) == before


def test_a_symbolic_link_is_not_moved(photos: Path) -> None:
    (photos / "link.jpg").symlink_to("a.jpg")

    made = plan(photos, [row("link.jpg")], mode="move")

    assert made.skipped == {"symbolic link, not moved": 1}


def test_labels_that_differ_in_case_get_different_folders(photos: Path) -> None:
    made = plan(photos, [row("a.jpg", "Cat"), row("b.jpg", "cat")], labels=["cat", "Cat"])

    assert made.counts == {"Cat_2": 1, "cat": 1}


@pytest.mark.parametrize("mode", MODES)
def test_a_sidecar_goes_with_its_image(mode: Mode, photos: Path) -> None:
    for name in ("a.jpg", "trip/a.jpg"):
        (photos / f"{name}.xmp").write_text(name)
    before = tree(photos.parent)
    into = photos.parent / "sorted"

    assert apply_sort(plan(photos, mode=mode)).placed == 6

    assert (into / "cat" / "a.jpg.xmp").read_text() == "a.jpg"
    assert (into / "cat" / "a_2.jpg.xmp").read_text() == "trip/a.jpg"
    assert plan(photos, mode=mode).actions == ()
    assert undo_sort(into).restored == 6
    assert tree(photos.parent) == before


def test_a_sidecar_that_is_made_later_goes_to_its_image(photos: Path) -> None:
    apply_sort(plan(photos))
    (photos / "b.jpg.xmp").write_text("b")
    other = photos.parent / "sorted" / "cat" / "a.jpg.xmp"
    other.write_text("other")
    (photos / "a.jpg.xmp").write_text("a")

    made = plan(photos)

    assert [action.target for action in made.actions] == ["dog/b.jpg.xmp"]
    assert made.skipped == {"sidecar whose name is taken": 1}
    apply_sort(made)
    assert other.read_text() == "other"


def test_an_image_with_a_new_label_stays_where_it_was_sorted(photos: Path) -> None:
    apply_sort(plan(photos, mode="move"))

    made = plan(photos, [row("a.jpg", "dog")], mode="move")

    assert made.actions == ()
    assert made.skipped == {"sorted before under another label; undo first": 1}


def test_a_deleted_link_is_made_again(photos: Path) -> None:
    apply_sort(plan(photos))
    (photos.parent / "sorted" / "dog" / "b.jpg").unlink()

    assert [action.target for action in plan(photos).actions] == ["dog/b.jpg"]
    apply_sort(plan(photos))

    assert undo_sort(photos.parent / "sorted").restored == 4


def test_files_changed_since_are_listed_and_undone_later(photos: Path) -> None:
    into = photos.parent / "sorted"
    apply_sort(plan(photos, mode="move"))
    (photos / "b.jpg").write_bytes(b"new")

    undone = undo_sort(into)

    assert undone.kept == ((str(into / "dog" / "b.jpg"), "its place is taken"),)
    assert (into / "dog" / "b.jpg").read_bytes() == b"b.jpg"
    (photos / "b.jpg").unlink()
    assert undo_sort(into).restored == 1
    assert (photos / "b.jpg").read_bytes() == b"b.jpg"
    assert not into.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "hardlink"}, "mode=.hardlink. must be"),
        ({"min_probability": 40}, "min_probability=.* must be a number from 0 to 1"),
        ({"min_probability": float("nan")}, "min_probability=.* must be a number from 0 to 1"),
        ({"unknown": "../x"}, "must be a plain folder name or None"),
        ({"unknown": ""}, "must be a plain folder name or None"),
    ],
)
def test_a_wrong_option_is_refused(
    options: Mapping[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        plan_rows([], tmp_path / "sorted", **options)


def test_a_folder_that_cannot_be_sorted_into_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / "_run.json").touch()

    for name, message in (
        ("file", "expected a folder"),
        ("gone/sorted", "create it first"),
        ("table", "contains a table of labels"),
    ):
        with pytest.raises(InputError, match=message):
            plan_rows([], tmp_path / name)
    with pytest.raises(InputError, match="nothing to undo"):
        undo_sort(tmp_path)


@pytest.mark.parametrize("mode", MODES)
def test_a_full_disk_is_an_error_and_can_be_undone(
    mode: Mode, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, real, calls = tree(photos.parent), placement.place, []

    def full(*args: Any) -> None:
        calls.append(args)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(*args)

    monkeypatch.setattr(placement, "place", full)

    with pytest.raises(SaveError, match="No space left on device"):
        apply_sort(plan(photos, mode=mode))

    assert undo_sort(photos.parent / "sorted").restored == 2
    assert tree(photos.parent) == before


def test_a_log_that_cannot_be_written_stops_before_the_action(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree(photos.parent)

    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(sorting.os, "fsync", broken)
    with pytest.raises(SaveError, match="cannot write the log"):
        apply_sort(plan(photos, mode="move"))
    monkeypatch.undo()

    undo_sort(photos.parent / "sorted")
    assert tree(photos.parent) == before


SCRIPT = """
import os, signal, sys, time
from zeroshot.bulk.sorting import apply_sort, plan_rows, undo_sort
photos, into, mode = sys.argv[1:]
names = [f"{n % 3}/{n // 3}.jpg" for n in range(300)]
rows = [{"source": name, "label": f"l{i % 4}", "probability": 1.0} for i, name in enumerate(names)]
for line in sys.stdin:
    command, seconds = line.split()
    plan = plan_rows(rows, into, mode=mode, root=photos)
    child = os.fork()
    if not child:
        try:
            apply_sort(plan) if command == "sort" else undo_sort(into)
            os._exit(0)
        finally:
            os._exit(1)
    time.sleep(float(seconds))
    os.kill(child, signal.SIGKILL)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@contextmanager
def killer(*arguments: str) -> Iterator[Callable[[str, float], bool]]:
    """Return a function that runs a command, kills it, and returns whether it was running."""
    command = [sys.executable, "-c", SCRIPT, *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        write, read = process.stdin, process.stdout

        def interrupted(name: str, seconds: float) -> bool:
            print(name, seconds, file=write, flush=True)
            code = int(read.readline())
            assert code in (0, -signal.SIGKILL)
            return code != 0

        yield interrupted


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
@pytest.mark.parametrize("mode", MODES)
def test_a_killed_process_is_undone_completely(mode: Mode, tmp_path: Path) -> None:
    photos, into = tmp_path / "photos", tmp_path / "sorted"
    for number in range(300):
        path = photos / str(number % 3) / f"{number // 3}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d" % number * 2000)
    before, chance = tree(tmp_path), random.Random(3)

    killed = 0
    with killer(str(photos), str(into), mode) as interrupted:
        for _ in range(3):
            for _ in range(2):  # the second run continues the first
                killed += interrupted("sort", chance.uniform(0, 0.1))
            interrupted("undo", chance.uniform(0, 0.05))
            if (into / LOG_NAME).exists():
                assert undo_sort(into).kept == ()
            assert tree(tmp_path) == before
    assert killed
