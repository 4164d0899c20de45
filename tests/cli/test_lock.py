"""`zeroshot lock` writes commits and hashes of all names, or nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from huggingface_hub import constants

from tests.hub import conftest as fixtures
from tests.hub.mini_hub import CONFIG, NAME, NEW_WEIGHTS, REPOSITORY, MiniHub
from tests.hub.support import SETTING
from zeroshot import hub
from zeroshot.cli import main

running_hub, mini, tiny_hub = fixtures.running_hub, fixtures.mini, fixtures.tiny_hub


def test_lock_is_written(tiny_hub: MiniHub, tmp_path: Path) -> None:
    path = tmp_path / "my.lock"

    done = CliRunner().invoke(main, ["lock", REPOSITORY, "mini", REPOSITORY, "-o", str(path)])

    assert done.exit_code == 0, done.output
    assert list(hub.read_lock(path)) == [REPOSITORY, "mini"]
    assert f"{REPOSITORY}@{tiny_hub.branches[REPOSITORY, 'main'][:12]}" in done.output
    assert 'lock="my.lock"' in path.read_text()


def test_revision_is_locked(tiny_hub: MiniHub, tmp_path: Path) -> None:
    first = tiny_hub.branches[REPOSITORY, "main"]
    tiny_hub.add(REPOSITORY, {SETTING: CONFIG}, lfs={NAME: NEW_WEIGHTS})
    path = tmp_path / "zeroshot.lock"

    done = CliRunner().invoke(main, ["lock", REPOSITORY, "--revision", first, "-o", str(path)])

    assert done.exit_code == 0, done.output
    assert hub.read_lock(path)[REPOSITORY].commit == first


def test_failed_command_does_not_change_the_file(tiny_hub: MiniHub, tmp_path: Path) -> None:
    path = tmp_path / "zeroshot.lock"
    hub.write_lock(path, [hub.pin("mini")])
    before = path.read_text()
    other = tmp_path / "notes.txt"
    other.write_text("mine")

    done = CliRunner().invoke(main, ["lock", REPOSITORY, "owner/absent", "-o", str(path)])
    two = CliRunner().invoke(main, ["lock", "mini", REPOSITORY, "--revision", "main"])

    assert done.exit_code == 4
    assert "owner/absent" in done.output
    assert path.read_text() == before
    refused = CliRunner().invoke(main, ["lock", "mini", "-o", str(other)])
    assert (refused.exit_code, other.read_text()) == (2, "mine")
    assert two.exit_code == 2
    assert "single name" in two.output


def test_offline_option_locks_cached_files(
    tiny_hub: MiniHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.fetch(REPOSITORY)
    tiny_hub.log.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    path = tmp_path / "zeroshot.lock"

    done = CliRunner().invoke(main, ["lock", REPOSITORY, "--offline", "-o", str(path)])

    assert done.exit_code == 0, done.output
    assert tiny_hub.log == []
    assert REPOSITORY in hub.read_lock(path)
