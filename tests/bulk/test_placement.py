"""One file is linked, copied or moved, and that is taken back."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import get_args

import pytest

from zeroshot.bulk import placement
from zeroshot.bulk.placement import Mode, finish_move, is_placed, place, take_back

MODES = get_args(Mode)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"picture")
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "cat").mkdir()
    return tmp_path / "cat" / "photo.jpg"


@pytest.fixture
def temporary(target: Path) -> Path:
    return target.with_name(".sort-1.tmp")


@pytest.fixture
def without_hard_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "not supported here")

    monkeypatch.setattr(os, "link", refuse)


@pytest.mark.parametrize("mode", MODES)
def test_a_placed_file_is_taken_back(
    mode: Mode, source: Path, target: Path, temporary: Path
) -> None:
    place(mode, source, target, temporary)

    assert target.read_bytes() == b"picture"
    assert source.exists() == (mode != "move")
    assert take_back(mode, source, target, temporary) == "undone"
    assert source.read_bytes() == b"picture"
    assert os.listdir(target.parent) == []
    assert take_back(mode, source, target, temporary) == "nothing to undo"


@pytest.mark.parametrize("mode", MODES)
def test_a_file_that_exists_is_never_overwritten(
    mode: Mode, source: Path, target: Path, temporary: Path
) -> None:
    target.write_bytes(b"other")

    with pytest.raises(FileExistsError):
        place(mode, source, target, temporary)

    assert target.read_bytes() == b"other"
    assert source.read_bytes() == b"picture"
    assert os.listdir(target.parent) == ["photo.jpg"]
    assert take_back(mode, source, target, temporary) in ("changed since", "its place is taken")
    assert target.read_bytes() == b"other"


@pytest.mark.parametrize("mode", ["copy", "move"])
@pytest.mark.usefixtures("without_hard_links")
def test_a_file_system_without_hard_links_is_supported(
    mode: Mode, source: Path, target: Path, temporary: Path
) -> None:
    place(mode, source, target, temporary)

    assert target.read_bytes() == b"picture"
    assert take_back(mode, source, target, temporary) == "undone"
    target.write_bytes(b"other")
    with pytest.raises(FileExistsError):
        place(mode, source, target, temporary)
    assert target.read_bytes() == b"other"


@pytest.mark.usefixtures("without_hard_links")
def test_a_move_to_another_device_copies_first(
    source: Path, target: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.stat

    class Other:
        st_dev = -1

    def stat(path: Path, **options: bool) -> object:
        return Other() if path == target.parent else real(path, **options)

    monkeypatch.setattr(Path, "stat", stat)

    place("move", source, target, temporary)

    assert target.read_bytes() == b"picture"
    assert not source.exists()
    assert not temporary.exists()


@pytest.mark.parametrize("mode", MODES)
def test_an_action_that_never_began_has_nothing_to_undo(
    mode: Mode, source: Path, target: Path, temporary: Path
) -> None:
    assert take_back(mode, source, target, temporary) == "nothing to undo"
    assert source.exists()


def test_an_incomplete_copy_is_removed(source: Path, target: Path, temporary: Path) -> None:
    temporary.write_bytes(b"pic")

    assert take_back("copy", source, target, temporary) == "nothing to undo"
    assert not temporary.exists()


def test_a_move_that_was_stopped_between_two_steps_is_undone_or_finished(
    source: Path, target: Path, temporary: Path
) -> None:
    os.link(source, target)

    assert take_back("move", source, target, temporary) == "undone"
    assert source.exists()
    assert not target.exists()

    os.link(source, target)
    finish_move(source, target)

    assert target.exists()
    assert not source.exists()


def test_a_move_is_not_finished_onto_another_file(source: Path, target: Path) -> None:
    target.write_bytes(b"other")

    with pytest.raises(FileExistsError):
        finish_move(source, target)

    assert source.exists()


def test_a_file_reached_by_two_paths_is_not_removed(source: Path, tmp_path: Path) -> None:
    (tmp_path / "same").symlink_to(tmp_path, target_is_directory=True)
    again = tmp_path / "same" / source.name

    finish_move(source, again)

    assert take_back("move", source, again, tmp_path / "none") == "its place is taken"
    assert take_back("copy", source, again, tmp_path / "none") == "changed since"
    assert take_back("link", source, again, tmp_path / "none") == "changed since"
    assert source.read_bytes() == b"picture"


def test_a_copy_stays_if_it_may_be_the_last_one(
    source: Path, target: Path, temporary: Path
) -> None:
    place("copy", source, target, temporary)
    source.unlink()

    assert take_back("copy", source, target, temporary) == "changed since"
    assert target.read_bytes() == b"picture"


def test_an_edited_copy_stays(source: Path, target: Path, temporary: Path) -> None:
    place("copy", source, target, temporary)
    target.write_bytes(b"PICTURE")

    assert take_back("copy", source, target, temporary) == "changed since"


def test_a_link_that_was_changed_stays(source: Path, target: Path, temporary: Path) -> None:
    target.symlink_to("elsewhere")

    assert take_back("link", source, target, temporary) == "changed since"
    assert target.is_symlink()


def test_a_moved_file_stays_if_its_place_is_taken(
    source: Path, target: Path, temporary: Path
) -> None:
    place("move", source, target, temporary)
    source.write_bytes(b"new")

    assert take_back("move", source, target, temporary) == "its place is taken"
    assert target.read_bytes() == b"picture"
    assert source.read_bytes() == b"new"


def test_a_moved_file_returns_to_a_folder_that_was_deleted(tmp_path: Path, target: Path) -> None:
    (tmp_path / "old").mkdir()
    source = tmp_path / "old" / "a.jpg"
    source.write_bytes(b"x")
    place("move", source, target, tmp_path / "none")
    source.parent.rmdir()

    assert take_back("move", source, target, tmp_path / "none") == "undone"
    assert source.read_bytes() == b"x"


def test_times_of_a_copy_are_those_of_the_file(source: Path, target: Path, temporary: Path) -> None:
    os.utime(source, (1e9, 1e9))

    place("copy", source, target, temporary)

    assert target.stat().st_mtime == 1e9
    assert is_placed("copy", source, target)


def test_a_hard_link_is_made_where_symbolic_links_are_forbidden(
    source: Path, target: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "a privilege is not held")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    with pytest.raises(OSError, match="privilege"):
        place("link", source, target, temporary)

    monkeypatch.setattr(placement, "WINDOWS", True)
    place("link", source, target, temporary)

    assert target.samefile(source)
    assert take_back("link", source, target, temporary) == "undone"
