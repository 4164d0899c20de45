"""OpenAI archives: resumed, verified, and used only if no hub answers."""

from __future__ import annotations

import hashlib
import json
import random
import threading
import urllib.error
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
from huggingface_hub import constants

from tests.hub.mini_hub import CONFIG, NAME, WEIGHTS, MiniHub
from tests.hub.test_failures import NOT_FOUND
from zeroshot import catalog, errors, hub
from zeroshot.catalog import Entry
from zeroshot.errors import DownloadError
from zeroshot.hub import archives, client

ARCHIVE = random.Random(3).randbytes(400_000)
SHA256 = hashlib.sha256(ARCHIVE).hexdigest()
FILE = "ViT-B-32.pt"


@pytest.fixture
def entry(mini: MiniHub) -> Entry:
    """ViT-B/32, its archive served by the mini hub."""
    address = f"/clip/models/{SHA256}/{FILE}"
    mini.plain[address] = ARCHIVE
    return replace(catalog.find("ViT-B/32"), url=mini.url + address, url_sha256=SHA256)


def test_every_archive_url_in_the_catalog_contains_its_sha256() -> None:
    found = [entry for entry in catalog.entries().values() if entry.url]

    assert len(found) == 9
    for entry in found:
        assert entry.url.startswith("https://openaipublic.azureedge.net/clip/models/")
        assert entry.url.split("/")[-2] == entry.url_sha256


def test_hub_is_preferred(mini: MiniHub, entry: Entry) -> None:
    mini.add(entry.repository, {"open_clip_config.json": CONFIG}, lfs={NAME: WEIGHTS})

    assert hub.fetch_entry(entry).read_bytes() == WEIGHTS
    assert mini.requests(name="/clip/") == []


def test_archive_is_used_if_no_hub_answers_and_then_without_a_request(
    mini: MiniHub, entry: Entry, caplog: pytest.LogCaptureFixture
) -> None:
    mini.fault("HEAD", "", status=503)

    path = hub.fetch_entry(entry)
    mini.log.clear()
    again = hub.fetch_entry(entry)
    offline = hub.fetch_entry(entry, offline=True)

    assert path.read_bytes() == ARCHIVE
    assert path.name == FILE
    assert path == again == offline
    assert mini.log == []
    assert "the Hub is unreachable" in caplog.text


def test_missing_or_gated_repository_is_not_replaced_by_the_archive(
    mini: MiniHub, entry: Entry
) -> None:
    with pytest.raises(errors.ModelNotFound):
        hub.fetch_entry(entry)
    mini.gated.add(entry.repository)
    mini.add(entry.repository)
    with pytest.raises(errors.ModelAccessDenied):
        hub.fetch_entry(entry)

    assert mini.requests(name="/clip/") == []


def test_revision_is_never_served_from_the_archive(mini: MiniHub, entry: Entry) -> None:
    mini.fault("HEAD", "", status=503)

    with pytest.raises(hub.HubUnreachable):
        hub.fetch_entry(entry, revision="main")


def test_offline_mode_downloads_no_archive(mini: MiniHub, entry: Entry) -> None:
    with pytest.raises(errors.OfflineError, match=r"copy open_clip_config\.json, open_clip_model"):
        hub.fetch_entry(entry, offline=True)

    assert mini.log == []


def test_error_names_hub_and_archive_if_neither_answers(mini: MiniHub, entry: Entry) -> None:
    mini.fault("*", "", status=503)

    with pytest.raises(errors.DownloadError) as caught:
        hub.fetch_entry(entry)

    for word in (entry.repository, "127.0.0.1 failed too", "503", "HF_ENDPOINT"):
        assert word in str(caught.value)
    assert str(caught.value).endswith("The model 'mini' needs no network")
    assert SHA256 not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert entry.url in str(caught.value.__cause__)


def test_full_disk_is_named_with_advice_if_neither_answers(
    mini: MiniHub, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    mini.fault("HEAD", "", status=503)
    full = errors.CacheError("/cache: the disk is full; free up space")
    monkeypatch.setattr(hub, "fetch_archive", Mock(side_effect=full))

    with pytest.raises(errors.DownloadError, match="the disk is full; free up space"):
        hub.fetch_entry(entry)


@pytest.mark.parametrize(
    "fault",
    [
        {"cut": 150_000},
        {"cut": 150_000, "how": "rst"},
        {"cut": 150_000, "stall": 1.0},
        {"cut": 0, "times": 3},
        {"status": 503, "times": 3},
        {"stall": 1.0, "times": 1},
        {"close": True, "times": 2},
        {"lie": 9, "times": 1},
        {"flip": 200_000, "times": 1},
        {"body": b"<html>", "times": 1},
        {"drop": ("Content-Length",), "close": True, "times": 1},
    ],
    ids=str,
)
def test_download_completes_despite_a_fault(
    mini: MiniHub, entry: Entry, cache: Path, fault: dict
) -> None:
    mini.fault("GET", FILE, **fault)

    path = archives.fetch_archive(entry.url, SHA256)

    assert path.read_bytes() == ARCHIVE
    assert {p.name for p in path.parent.iterdir()} <= {FILE, f"{FILE}.lock", f"{FILE}.stamp"}


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"status": 404}, errors.DownloadError),
        ({"status": 503}, errors.DownloadError),
        ({"cut": 0, "how": "rst"}, errors.DownloadError),
        ({"stall": 3.0}, errors.DownloadError),
        ({"close": True}, errors.DownloadError),
        ({"flip": 9}, errors.ChecksumError),
        ({"body": bytes(400_000)}, errors.ChecksumError),
        ({"body": b"<html>"}, errors.ChecksumError),
        ({"headers": {"Content-Length": "many"}}, errors.DownloadError),
    ],
    ids=str,
)
def test_failed_download_is_an_error_and_is_not_kept(
    mini: MiniHub, entry: Entry, fault: dict, expected: type[Exception]
) -> None:
    mini.fault("GET", FILE, **fault)

    with pytest.raises(expected) as caught:
        archives.fetch_archive(entry.url, SHA256)

    assert type(caught.value) is expected
    assert entry.url in str(caught.value)
    mini.faults.clear()
    assert archives.fetch_archive(entry.url, SHA256).read_bytes() == ARCHIVE


def test_interrupted_download_is_resumed(mini: MiniHub, entry: Entry) -> None:
    mini.fault("GET", FILE, cut=300_000, times=1)
    mini.fault("GET", FILE, status=503, times=3)
    with pytest.raises(errors.DownloadError):
        archives.fetch_archive(entry.url, SHA256)
    mini.log.clear()

    assert archives.fetch_archive(entry.url, SHA256).read_bytes() == ARCHIVE

    (request,) = mini.requests("GET", FILE)
    assert request.range.startswith("bytes=")
    assert int(request.range[6:-1]) > 0


@pytest.mark.parametrize("left", [ARCHIVE[:5000], bytes(5000), ARCHIVE, ARCHIVE + b"x", b""])
def test_partial_file_of_another_process_is_completed_or_replaced(
    mini: MiniHub, entry: Entry, left: bytes
) -> None:
    path = archives.archive_path(entry.url, SHA256)
    path.parent.mkdir(parents=True)
    path.with_name(f"{FILE}.incomplete").write_bytes(left)

    assert archives.fetch_archive(entry.url, SHA256).read_bytes() == ARCHIVE


def test_download_restarts_if_the_server_ignores_range(mini: MiniHub, entry: Entry) -> None:
    mini.fault("GET", FILE, cut=100_000, times=1)
    mini.fault("GET", FILE, ignore_range=True)

    assert archives.fetch_archive(entry.url, SHA256).read_bytes() == ARCHIVE


def test_corrupted_archive_is_downloaded_again(mini: MiniHub, entry: Entry) -> None:
    path = archives.fetch_archive(entry.url, SHA256)
    path.write_bytes(bytes(len(ARCHIVE)))

    assert archives.fetch_archive(entry.url, SHA256).read_bytes() == ARCHIVE


def test_archive_is_stored_next_to_the_hub_cache(
    mini: MiniHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home" / "hub"))

    path = archives.archive_path("https://example.org/a/RN50.pt?x=1", "ab" * 32)

    assert path == tmp_path / "home" / "zeroshot" / "abababababababab" / "RN50.pt"


@pytest.mark.parametrize("url", ["ftp://example.org/x.pt", "file:///etc/passwd", "x.pt"])
def test_only_http_urls_are_opened(mini: MiniHub, url: str) -> None:
    with pytest.raises(errors.DownloadError, match="https://"):
        archives.fetch_archive(url, SHA256)


def test_insufficient_disk_space_is_an_error_before_the_download(
    mini: MiniHub, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))

    with pytest.raises(errors.CacheError, match=r"needs 0\.4 MB, 0\.001 MB is free"):
        archives.fetch_archive(entry.url, SHA256)


def test_four_threads_download_once(mini: MiniHub, entry: Entry) -> None:
    mini.fault("GET", FILE, slow=0.02)
    contents: list[bytes] = []

    def work() -> None:
        contents.append(archives.fetch_archive(entry.url, SHA256).read_bytes())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert contents == [ARCHIVE] * 4
    assert len(mini.requests("GET", FILE)) == 1


def test_verified_archive_is_not_hashed_again(
    mini: MiniHub, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = archives.fetch_archive(entry.url, SHA256)
    stamp = json.loads(path.with_name(f"{FILE}.stamp").read_text())
    monkeypatch.setattr("zeroshot.files.sha256", lambda _: pytest.fail("was read"))

    assert archives.fetch_archive(entry.url, SHA256) == path
    assert stamp["sha256"] == SHA256


def test_unresolved_host_name_is_tried_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def transfer(url: str, _: Path) -> bool:
        asked.append(url)
        raise urllib.error.URLError(NOT_FOUND)

    monkeypatch.setattr(archives, "_transfer", transfer)
    monkeypatch.setattr(client, "backoff", lambda _: 0.0)
    with pytest.raises(
        DownloadError, match=r"failed after 2 attempts without progress \((?!<urlopen)"
    ):
        archives._download("https://nowhere.invalid/a.pt", tmp_path / "a.pt.incomplete")
    assert len(asked) == 2
