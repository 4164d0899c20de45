"""A lock file stores commits and hashes; exactly these files are loaded, or none."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zeroshot
from tests.hub.mini_hub import CONFIG, NAME, NEW_WEIGHTS, REPOSITORY, WEIGHTS, MiniHub
from tests.hub.support import SETTING
from zeroshot import catalog, errors, hub
from zeroshot.hub.lockfile import Pin, PinnedFile


@pytest.fixture
def locked(tiny_hub: MiniHub, tmp_path: Path) -> Path:
    """A lock of the tiny repository as it is now."""
    path = tmp_path / "zeroshot.lock"
    hub.write_lock(path, [hub.pin(REPOSITORY)])
    return path


def test_lock_lists_files_with_size_and_sha256(tiny_hub: MiniHub, locked: Path) -> None:
    (model,) = tomllib.loads(locked.read_text())["model"]

    assert model["name"] == model["repository"] == REPOSITORY
    assert model["commit"] == tiny_hub.branches[REPOSITORY, "main"]
    assert model["files"] == [
        {"name": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in ((SETTING, CONFIG), (NAME, WEIGHTS))
    ]


@pytest.mark.parametrize("cache", ["cache", "another"])
def test_locked_commit_is_loaded_after_the_branch_moves(
    tiny_hub: MiniHub, locked: Path, tmp_path: Path, cache: str
) -> None:
    tiny_hub.add(REPOSITORY, {SETTING: CONFIG}, lfs={NAME: NEW_WEIGHTS})
    assert hub.fetch(REPOSITORY).weights.read_bytes() == NEW_WEIGHTS

    name, path = hub.fetch_pinned(locked, REPOSITORY, cache_dir=tmp_path / cache)

    assert name == REPOSITORY
    assert path.read_bytes() == WEIGHTS


def test_locked_and_cached_files_cost_no_request(tiny_hub: MiniHub, locked: Path) -> None:
    tiny_hub.log.clear()

    hub.fetch_pinned(locked, REPOSITORY)
    hub.fetch_pinned(locked, REPOSITORY, offline=True)

    assert tiny_hub.log == []


@pytest.mark.parametrize("content", [CONFIG, WEIGHTS], ids=["configuration", "weights"])
def test_content_with_another_hash_is_rejected(
    tiny_hub: MiniHub, locked: Path, content: bytes
) -> None:
    sha256 = hashlib.sha256(content).hexdigest()
    locked.write_text(locked.read_text().replace(sha256, "9" * 64))

    with pytest.raises(errors.ChecksumError) as caught:
        hub.fetch_pinned(locked, REPOSITORY)

    assert (caught.value.expected, caught.value.found) == ("9" * 64, sha256)


def test_missing_commit_is_an_error(tiny_hub: MiniHub, locked: Path, tmp_path: Path) -> None:
    tiny_hub.repositories[REPOSITORY].clear()

    with pytest.raises(errors.ModelNotFound, match="has no revision"):
        hub.fetch_pinned(locked, REPOSITORY, cache_dir=tmp_path / "another")


def test_name_that_is_not_locked_is_an_error(tiny_hub: MiniHub, locked: Path) -> None:
    for name in ("ViT-B/32", "owner/other", "mini", "./model.safetensors"):
        with pytest.raises(errors.ModelNotFound, match="which has owner/tiny; to add it, run"):
            hub.fetch_pinned(locked, name)


def test_embedded_model_can_be_locked(tmp_path: Path) -> None:
    path = tmp_path / "zeroshot.lock"
    hub.write_lock(path, [hub.pin("mini", offline=True)])
    assert hub.fetch_pinned(path, "mini") == ("mini", catalog.find("mini").path)

    sha256 = hub.read_lock(path)["mini"].files[0].sha256
    path.write_text(path.read_text().replace(sha256, "9" * 64))
    with pytest.raises(errors.ChecksumError, match="another version of this package"):
        hub.fetch_pinned(path, "mini")


def test_every_alias_of_a_cataloged_model_finds_its_lock(mini: MiniHub, tmp_path: Path) -> None:
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
def test_lock_round_trips(tmp_path_factory: pytest.TempPathFactory, pins: list[Pin]) -> None:
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
    ("content", "message"),
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
def test_malformed_lock_is_rejected(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "zeroshot.lock"
    path.write_bytes(content.encode("latin-1"))

    with pytest.raises(errors.InputError, match=message) as caught:
        hub.read_lock(path)

    assert str(path) in str(caught.value)


def test_missing_lock_error_says_how_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(errors.InputError, match="`zeroshot lock NAMES"):
        hub.read_lock(tmp_path / "zeroshot.lock")


def test_lock_cannot_name_files_in_other_folders(mini: MiniHub, tmp_path: Path) -> None:
    path = tmp_path / "zeroshot.lock"
    path.write_text(GOOD.format(commit="0" * 40, file="../../secret", sha256="0" * 64))

    with pytest.raises(errors.UnsafeWeightsError, match="outside"):
        hub.fetch_pinned(path, "a/b")

    assert mini.log == []


def test_load_rejects_lock_with_revision(tmp_path: Path) -> None:
    with pytest.raises(errors.InputError, match="expected either revision or lock"):
        zeroshot.load("mini", lock=tmp_path / "zeroshot.lock", revision="main")


def test_unwritable_lock_path_is_named(tmp_path: Path) -> None:
    path = tmp_path / "absent" / "zeroshot.lock"

    with pytest.raises(errors.SaveError, match="no such folder") as caught:
        hub.write_lock(path, [])

    assert caught.value.source == str(path)
