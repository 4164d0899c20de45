"""What the cache holds of a cataloged checkpoint: whole, broken, unfinished or corrupted."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from tests.hub.mini_hub import CONFIG, NAME, NEW_WEIGHTS, WEIGHTS, MiniHub
from tests.hub.support import SETTING, spoil
from zeroshot import catalog, hub
from zeroshot.catalog import Entry
from zeroshot.hub import archives
from zeroshot.hub.inspection import Cached, cached_checkpoints

SHA256 = hashlib.sha256(WEIGHTS).hexdigest()


@pytest.fixture
def entry(mini: MiniHub) -> Entry:
    """ViT-B/32, its repository on the mini hub."""
    found = catalog.find("ViT-B/32")
    mini.add(found.repository, {SETTING: CONFIG}, lfs={NAME: WEIGHTS})
    return replace(found, url=f"{mini.url}/ViT-B-32.pt", url_sha256=SHA256)


def only(entry: Entry, *, verify: bool = False) -> Cached:
    (found,) = cached_checkpoints(entry, verify=verify)
    return found


def test_empty_cache_holds_nothing(entry: Entry) -> None:
    assert cached_checkpoints(entry) == []
    assert cached_checkpoints(entry, verify=True) == []


def test_downloaded_checkpoint_is_listed_with_its_commit_and_size(
    mini: MiniHub, entry: Entry
) -> None:
    hub.fetch_checkpoint(entry)

    found = only(entry)

    assert found.repository == entry.repository
    assert found.commits == (mini.branches[entry.repository, "main"],)
    assert found.size == len(WEIGHTS)
    assert (found.broken, found.damaged, found.unfinished) == ("", "", 0)
    assert (found.verified, found.unverified) == (0, 2)
    assert not found.is_archive


def test_verification_hashes_every_file(entry: Entry) -> None:
    hub.fetch_checkpoint(entry)

    found = only(entry, verify=True)

    assert (found.verified, found.unverified, found.damaged) == (2, 0, "")


@pytest.mark.parametrize("name", [NAME, SETTING])
def test_corrupted_file_is_named_with_both_hashes(entry: Entry, name: str) -> None:
    fetched = hub.fetch_checkpoint(entry)
    spoil(fetched.files[name])

    assert only(entry).damaged == ""  # without reading it
    found = only(entry, verify=True)

    published = fetched.files[name].resolve().name
    start = f"{name}: checksum mismatch: expected {published}, got "
    assert found.damaged.startswith(start)
    assert fetched.files[name].exists()  # nothing was removed


def test_file_that_differs_from_the_catalog_is_corrupted(entry: Entry) -> None:
    hub.fetch_checkpoint(entry)

    found = only(replace(entry, sha256="7" * 64), verify=True)

    assert found.damaged == f"{NAME}: checksum mismatch: expected {'7' * 64}, got {SHA256}"


def test_broken_link_is_named(entry: Entry) -> None:
    fetched = hub.fetch_checkpoint(entry)
    fetched.weights.resolve().unlink()

    found = only(entry, verify=True)

    assert found.broken == NAME
    assert found.damaged == ""


def test_unfinished_downloads_are_counted(entry: Entry) -> None:
    fetched = hub.fetch_checkpoint(entry)
    blobs = fetched.weights.parents[2] / "blobs"
    for n in range(2):
        (blobs / f"{n}.incomplete").write_bytes(b"x")

    assert only(entry).unfinished == 2


def test_every_commit_with_weights_is_listed(mini: MiniHub, entry: Entry) -> None:
    hub.fetch_checkpoint(entry)
    mini.add(entry.repository, {SETTING: CONFIG}, lfs={NAME: NEW_WEIGHTS})
    hub.fetch_checkpoint(entry)

    found = only(entry)

    assert len(found.commits) == 2
    assert list(found.commits) == sorted(found.commits)
    assert found.size == len(WEIGHTS) + len(NEW_WEIGHTS)


def test_mirror_is_listed_beside_the_repository(mini: MiniHub, entry: Entry) -> None:
    mirrored = replace(entry, mirrors=("owner/mirror",))
    mini.add("owner/mirror", {SETTING: CONFIG}, lfs={NAME: WEIGHTS})
    hub.fetch_checkpoint(entry)
    hub.fetch("owner/mirror")

    found = cached_checkpoints(mirrored)

    assert [one.repository for one in found] == [entry.repository, "owner/mirror"]


def test_archive_of_the_publisher_is_listed(mini: MiniHub, entry: Entry) -> None:
    mini.plain["/ViT-B-32.pt"] = WEIGHTS
    path = archives.fetch_archive(entry.url, SHA256)

    found = only(entry, verify=True)

    assert found.is_archive
    assert (found.repository, found.path, found.size) == ("ViT-B-32.pt", path, len(WEIGHTS))
    assert (found.verified, found.damaged) == (1, "")


def test_corrupted_archive_is_named(mini: MiniHub, entry: Entry) -> None:
    mini.plain["/ViT-B-32.pt"] = WEIGHTS
    path: Path = archives.fetch_archive(entry.url, SHA256)
    spoil(path)

    assert only(entry).damaged == ""
    found = only(entry, verify=True)
    assert found.damaged.startswith(f"checksum mismatch: expected {SHA256}, got ")


def test_inspection_makes_no_request(mini: MiniHub, entry: Entry) -> None:
    hub.fetch_checkpoint(entry)
    mini.log.clear()

    cached_checkpoints(entry, verify=True)

    assert mini.log == []
