"""`zeroshot lock` writes commits and hashes of all names, or nothing; `--lock` reads them."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from huggingface_hub import constants

from tests.hub import conftest as fixtures
from tests.hub.mini_hub import CONFIG, NAME, NEW_WEIGHTS, REPOSITORY, MiniHub
from tests.hub.support import SETTING
from zeroshot import hub
from zeroshot.cli import main
from zeroshot.cli.failures import NO_MODEL

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


# ---- the embedded model, without a hub


def lock(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["lock", *map(str, arguments)])


@pytest.fixture
def locked(tmp_path: Path) -> Path:
    """A lock file of the embedded model."""
    path = tmp_path / "zeroshot.lock"
    assert lock("mini", "--offline", "-o", path).exit_code == 0
    return path


def test_the_lock_file_names_the_model_and_its_files(tmp_path: Path) -> None:
    path = tmp_path / "my.lock"

    result = lock("mini", "mini", "-o", path)

    assert result.exit_code == 0, result.output
    (pin,) = hub.read_lock(path).values()
    assert (pin.name, pin.repository, len(pin.files)) == ("mini", "", 1)
    assert result.stdout.startswith("mini  in the package  1 file, ")
    assert f"wrote {path}" in result.stderr


def test_the_default_output_is_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert lock("mini").exit_code == 0
    assert list(hub.read_lock("zeroshot.lock")) == ["mini"]


def test_a_locked_model_classifies(locked: Path, photos: list[Path]) -> None:
    words = ["classify", str(photos[0]), "-l", "cat,dog", "-m", "mini", "--lock", str(locked)]

    result = CliRunner().invoke(main, words)

    assert result.exit_code == 0, result.output


def test_a_model_missing_from_the_lock_exits_with_4(locked: Path, photos: list[Path]) -> None:
    words = ["classify", str(photos[0]), "-l", "cat,dog", "-m", "RN50", "--lock", str(locked)]

    result = CliRunner().invoke(main, words)

    assert result.exit_code == NO_MODEL
    assert "'RN50' is not in the lock file" in result.stderr


def test_a_missing_lock_file_is_a_usage_error(photos: list[Path]) -> None:
    words = ["classify", str(photos[0]), "-l", "cat,dog", "-m", "mini", "--lock", "none.lock"]

    result = CliRunner().invoke(main, words)

    assert result.exit_code == 2
    assert "none.lock: no such file (working folder " in result.stderr
    assert "create it with `zeroshot lock" in result.stderr


def test_the_help_names_the_default_file() -> None:
    default = {parameter.name: parameter.default for parameter in main.commands["lock"].params}

    assert default["output"] == "zeroshot.lock"


def test_a_lock_file_is_overwritten_and_other_files_are_not(locked: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("mine")

    assert lock("mini", "-o", locked).exit_code == 0
    refused = lock("mini", "-o", notes)

    assert (refused.exit_code, notes.read_text()) == (2, "mine")
    assert "exists and is not a lock file" in refused.stderr


def test_an_unknown_name_exits_with_4_and_keeps_the_lock_file(locked: Path) -> None:
    before = locked.read_bytes()

    result = lock("mini", "ViT-B-23", "--offline", "-o", locked)

    assert result.exit_code == NO_MODEL
    assert "did you mean 'ViT-B/32'?" in result.stderr
    assert locked.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [([], "Missing argument"), (["mini", "RN50", "--revision", "main"], "a single name")],
)
def test_wrong_usage_exits_with_2(arguments: list[str], says: str) -> None:
    result = lock(*arguments)

    assert result.exit_code == 2
    assert says in result.stderr


def test_an_unsupported_repository_is_rejected_before_its_weights_are_requested(
    mini: MiniHub, tmp_path: Path
) -> None:
    mini.add(
        "owner/other",
        {"config.json": b'{"model_type": "altclip"}'},
        lfs={"model.safetensors": b"x" * 3_000_000},
    )
    path = tmp_path / "zeroshot.lock"

    done = CliRunner().invoke(main, ["lock", "owner/other", "-o", str(path)])

    assert done.exit_code == 4
    assert "model_type is 'altclip', expected one of clip, siglip" in done.stderr
    assert not path.exists()
    fetched = {r.path.rpartition("/")[2] for r in mini.log if r.method == "GET"}
    assert "config.json" in fetched
    assert "model.safetensors" not in fetched
