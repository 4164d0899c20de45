"""The log of sorted files is complete, or refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zeroshot.bulk.undo_log import FORMAT, LOG_NAME, Entry, UndoLog
from zeroshot.errors import InputError

HEADER = {"format": FORMAT, "made_folder": False}
COPY = {"mode": "copy", "source": "/a.jpg", "target": "cat/a.jpg", "temporary": "cat/.sort-1.tmp"}


def test_entries_are_read_back_in_order(tmp_path: Path) -> None:
    log = UndoLog(tmp_path / "new")
    with log.writing():
        log.make_folder("cat")
        first = log.begin("copy", "/a.jpg", "cat/a.jpg")
        second = log.begin("move", "/ü\udcff.jpg", "cat/b.jpg")

    again = UndoLog(tmp_path / "new")

    assert again.entries() == [first, second]
    assert again.targets() == {"/a.jpg": "cat/a.jpg", "/ü\udcff.jpg": "cat/b.jpg"}
    assert first.temporary != second.temporary


def test_an_action_is_on_disk_before_it_begins(tmp_path: Path) -> None:
    log = UndoLog(tmp_path)
    with log.writing():
        log.begin("copy", "/a.jpg", "cat/a.jpg")

        assert "/a.jpg" in (tmp_path / LOG_NAME).read_text("utf-8")


def test_a_canceled_action_is_forgotten(tmp_path: Path) -> None:
    log = UndoLog(tmp_path)
    with log.writing():
        log.cancel(log.begin("copy", "/a.jpg", "cat/a.jpg"))

    assert UndoLog(tmp_path).entries() == []


def test_an_action_that_is_repeated_becomes_the_last_one(tmp_path: Path) -> None:
    log = UndoLog(tmp_path)
    with log.writing():
        for name in ("a", "b", "a"):
            log.begin("link", f"/{name}", f"cat/{name}")

    assert [entry.source for entry in UndoLog(tmp_path).entries()] == ["/b", "/a"]


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_torn_last_line_is_ignored_and_replaced(cut: int, tmp_path: Path) -> None:
    log = UndoLog(tmp_path)
    with log.writing():
        log.begin("copy", "/a.jpg", "cat/a.jpg")
        log.begin("copy", "/b.jpg", "cat/b.jpg")
    path = tmp_path / LOG_NAME
    path.write_bytes(path.read_bytes()[:-cut])

    again = UndoLog(tmp_path)
    assert [entry.source for entry in again.entries()] == ["/a.jpg"]
    with again.writing():
        again.begin("copy", "/c.jpg", "cat/c.jpg")

    assert [entry.source for entry in UndoLog(tmp_path).entries()] == ["/a.jpg", "/c.jpg"]


def test_a_torn_first_line_is_replaced(tmp_path: Path) -> None:
    (tmp_path / LOG_NAME).write_text('{"form', "utf-8")

    with UndoLog(tmp_path).writing():
        pass

    assert json.loads((tmp_path / LOG_NAME).read_text("utf-8")) == HEADER


@pytest.mark.parametrize(
    "lines",
    [
        [{"format": "zeroshot.sort/2", "made_folder": True}],
        [COPY],
        [HEADER, COPY | {"target": "../a.jpg"}],
        [HEADER, COPY | {"target": "/etc/a.jpg"}],
        [HEADER, COPY | {"target": "cat/../a.jpg"}],
        [HEADER, COPY | {"target": "a.jpg"}],
        [HEADER, COPY | {"temporary": "../../a.jpg"}],
        [HEADER, COPY | {"source": "a.jpg"}],
        [HEADER, COPY | {"source": 3}],
        [HEADER, COPY | {"mode": "delete"}],
        [HEADER, COPY | {"other": 1}],
        [HEADER, {"folder": ".."}],
        [HEADER, {"folder": 7}],
        [HEADER, [1]],
        [HEADER, 5],
        [["format"]],
    ],
)
def test_a_line_that_is_no_action_is_refused(lines: list[object], tmp_path: Path) -> None:
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / LOG_NAME).write_text(text, "utf-8")

    with pytest.raises(InputError, match=f"line {len(lines)} is no action of sort") as caught:
        UndoLog(tmp_path)

    assert len(str(caught.value)) < 600


def test_a_log_is_closed_with_what_could_not_be_undone(tmp_path: Path) -> None:
    log = UndoLog(tmp_path / "new")
    with log.writing():
        log.make_folder("cat")
        log.make_folder("dog")
        (tmp_path / "new" / "cat" / "mine.txt").touch()
        kept = log.begin("copy", "/a.jpg", "cat/a.jpg")

    log.close_with([kept])

    assert UndoLog(tmp_path / "new").entries() == [kept]
    assert not (tmp_path / "new" / "dog").exists()
    (tmp_path / "new" / "cat" / "mine.txt").unlink()
    UndoLog(tmp_path / "new").close_with([])
    assert not (tmp_path / "new").exists()


def test_a_folder_that_was_there_before_stays(tmp_path: Path) -> None:
    log = UndoLog(tmp_path)
    with log.writing():
        pass

    log.close_with([])

    assert tmp_path.is_dir()
    assert not (tmp_path / LOG_NAME).exists()


def test_an_entry_has_a_temporary_name_in_the_folder_of_its_target(tmp_path: Path) -> None:
    log = UndoLog(tmp_path)
    with log.writing():
        entry = log.begin("copy", "/a.jpg", "cat/a.jpg")

    assert entry == Entry("copy", "/a.jpg", "cat/a.jpg", "cat/.sort-000001.tmp")
