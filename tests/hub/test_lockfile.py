"""A lock names commits and hashes, and what it names is loaded or nothing is."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner
from huggingface_hub import constants
from hypothesis import given, settings
from hypothesis import strategies as st

import zeroshot
from tests.hub.mini_hub import CONFIG, NAME, NEW_WEIGHTS, REPOSITORY, WEIGHTS, MiniHub
from zeroshot import catalog, errors, hub
from zeroshot.cli import main
from zeroshot.hub.lockfile import Pin, PinnedFile

SETTING = "open_clip_config.json"


@pytest.fixture
def locked(tiny_hub: MiniHub, tmp_path: Path) -> Path:
    """A lock of the tiny repository as it is now."""
    path = tmp_path / "zeroshot.lock"
    hub.write_lock(path, [hub.pin(REPOSITORY)])
    return path


def test_a_lock_says_which_files_and_what_is_in_them(tiny_hub: MiniHub, locked: Path) -> None:
    (model,) = tomllib.loads(locked.read_text())["model"]

    assert model["name"] == model["repository"] == REPOSITORY
    assert model["commit"] == tiny_hub.branches[REPOSITORY, "main"]
    assert model["files"] == [
        {"name": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in ((SETTING, CONFIG), (NAME, WEIGHTS))
    ]


@pytest.mark.parametrize("cache", ["cache", "another"])
def test_what_was_locked_is_loaded_though_the_branch_moves_on(
    tiny_hub: MiniHub, locked: Path, tmp_path: Path, cache: str
) -> None:
    tiny_hub.add(REPOSITORY, {SETTING: CONFIG}, lfs={NAME: NEW_WEIGHTS})
    assert hub.fetch(REPOSITORY).weights.read_bytes() == NEW_WEIGHTS

    name, path = hub.fetch_pinned(locked, REPOSITORY, cache_dir=tmp_path / cache)

    assert name == REPOSITORY
    assert path.read_bytes() == WEIGHTS


def test_what_is_locked_and_cached_costs_no_request(tiny_hub: MiniHub, locked: Path) -> None:
    tiny_hub.log.clear()

    hub.fetch_pinned(locked, REPOSITORY)
    hub.fetch_pinned(locked, REPOSITORY, offline=True)

    assert tiny_hub.log == []


@pytest.mark.parametrize("content", [CONFIG, WEIGHTS], ids=["configuration", "weights"])
def test_other_content_is_refused(tiny_hub: MiniHub, locked: Path, content: bytes) -> None:
    sha256 = hashlib.sha256(content).hexdigest()
    locked.write_text(locked.read_text().replace(sha256, "9" * 64))

    with pytest.raises(errors.ChecksumError) as caught:
        hub.fetch_pinned(locked, REPOSITORY)

    assert (caught.value.expected, caught.value.found) == ("9" * 64, sha256)


def test_a_commit_that_is_gone_is_an_error(tiny_hub: MiniHub, locked: Path, tmp_path: Path) -> None:
    tiny_hub.repositories[REPOSITORY].clear()

    with pytest.raises(errors.ModelNotFound, match="has no revision"):
        hub.fetch_pinned(locked, REPOSITORY, cache_dir=tmp_path / "another")


def test_names_that_are_not_locked_are_errors(tiny_hub: MiniHub, locked: Path) -> None:
    for name in ("ViT-B/32", "owner/other", "mini", "./model.safetensors"):
        with pytest.raises(errors.ModelNotFound, match="which has owner/tiny; to add it, run"):
            hub.fetch_pinned(locked, name)


def test_the_model_in_the_package_can_be_locked(tmp_path: Path) -> None:
    path = tmp_path / "zeroshot.lock"
    hub.write_lock(path, [hub.pin("mini", offline=True)])
    assert hub.fetch_pinned(path, "mini") == ("mini", catalog.find("mini").path)

    sha256 = hub.read_lock(path)["mini"].files[0].sha256
    path.write_text(path.read_text().replace(sha256, "9" * 64))
    with pytest.raises(errors.ChecksumError, match="another version of this package"):
        hub.fetch_pinned(path, "mini")


def test_any_name_of_a_catalogued_model_finds_its_lock(mini: MiniHub, tmp_path: Path) -> None:
    entry = catalog.find("ViT-B/32")
    mini.add(entry.repository, {SETTING: CONFIG}, lfs={NAME: WEIGHTS})
    path = tmp_path / "zeroshot.lock"
    hub.write_lock(path, [hub.pin("vit-b-32")])

    for name in ("ViT-B/32", "ViT-B-32"):
        assert hub.fetch_pinned(path, name)[0] == "ViT-B/32"


words = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)


@settings(max_examples=25)
@given(
    pins=st.lists(
        st.builds(
            Pin,
            name=words,
            repository=st.just("a/b"),
            commit=st.just("0123456789" * 4),
            files=st.lists(
                st.builds(
                    PinnedFile,
                    name=words,
                    size=st.integers(0, 2**40),
                    sha256=st.from_regex("[0-9a-f]{64}", fullmatch=True),
                ),
                min_size=1,
                max_size=3,
            ).map(tuple),
        ),
        max_size=3,
        unique_by=lambda pin: pin.name,
    )
)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, pins: list[Pin]) -> None:
    path = tmp_path_factory.getbasetemp() / "written.lock"

    hub.write_lock(path, pins)

    assert list(hub.read_lock(path).values()) == pins


GOOD = """version = 1
[[model]]
name = "a/b"
repository = "a/b"
commit = "{commit}"
files = [{{ name = "{file}", size = 1, sha256 = "{sha256}" }}]
"""


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "version None"),
        ("version = 2", "version 2"),
        ("nonsense", "not a lock file"),
        ("\xff", "not a lock file"),
        ("version = 1\nmodel = 3", "corrupted lock file"),
        ("version = 1\nmodel = [3]", "corrupted lock file"),
        ("version = 1\n[[model]]\nname = 'x'", "corrupted lock file"),
        (GOOD.format(commit="main", file="x", sha256="0" * 64), "expected a commit of 40 hex"),
        (GOOD.format(commit="0" * 40, file="x", sha256=""), "has no sha256"),
        (
            GOOD.format(commit="0" * 40, file="x", sha256="0" * 64).split("files")[0],
            "corrupted lock file",
        ),
    ],
)
def test_a_lock_that_is_none_is_refused(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "zeroshot.lock"
    path.write_bytes(content.encode("latin-1"))

    with pytest.raises(errors.InputError, match=said) as caught:
        hub.read_lock(path)

    assert str(path) in str(caught.value)


def test_a_lock_that_is_missing_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(errors.InputError, match="`zeroshot lock NAMES"):
        hub.read_lock(tmp_path / "zeroshot.lock")


def test_a_lock_cannot_reach_outside(mini: MiniHub, tmp_path: Path) -> None:
    path = tmp_path / "zeroshot.lock"
    path.write_text(GOOD.format(commit="0" * 40, file="../../secret", sha256="0" * 64))

    with pytest.raises(errors.UnsafeWeightsError, match="outside"):
        hub.fetch_pinned(path, "a/b")

    assert mini.log == []


def test_load_takes_a_lock_or_a_revision(tmp_path: Path) -> None:
    with pytest.raises(errors.InputError, match="expected either revision or lock"):
        zeroshot.load("mini", lock=tmp_path / "zeroshot.lock", revision="main")


# ---- the command


def test_the_command_writes_a_lock(tiny_hub: MiniHub, tmp_path: Path) -> None:
    path = tmp_path / "my.lock"

    done = CliRunner().invoke(main, ["lock", REPOSITORY, "mini", REPOSITORY, "-o", str(path)])

    assert done.exit_code == 0, done.output
    assert list(hub.read_lock(path)) == [REPOSITORY, "mini"]
    assert f"{REPOSITORY}@{tiny_hub.branches[REPOSITORY, 'main'][:12]}" in done.output
    assert 'lock="my.lock"' in path.read_text()


def test_the_command_locks_a_revision(tiny_hub: MiniHub, tmp_path: Path) -> None:
    first = tiny_hub.branches[REPOSITORY, "main"]
    tiny_hub.add(REPOSITORY, {SETTING: CONFIG}, lfs={NAME: NEW_WEIGHTS})
    path = tmp_path / "zeroshot.lock"

    done = CliRunner().invoke(main, ["lock", REPOSITORY, "--revision", first, "-o", str(path)])

    assert done.exit_code == 0, done.output
    assert hub.read_lock(path)[REPOSITORY].commit == first


def test_the_command_fails_whole(tiny_hub: MiniHub, tmp_path: Path) -> None:
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


def test_the_command_offline_locks_what_is_cached(
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


def test_a_lock_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    path = tmp_path / "absent" / "zeroshot.lock"

    with pytest.raises(FileNotFoundError) as caught:
        hub.write_lock(path, [])

    assert caught.value.filename == str(path)
