"""OpenAI's archives from their own address: resumed, verified, and only when no hub answers."""

from __future__ import annotations

import hashlib
import json
import random
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants

from tests.hub.mini_hub import CONFIG, NAME, WEIGHTS, MiniHub
from zeroshot import catalog, errors, hub
from zeroshot.catalog import Entry
from zeroshot.hub import archives as publisher

ARCHIVE = random.Random(3).randbytes(400_000)
SHA256 = hashlib.sha256(ARCHIVE).hexdigest()
FILE = "ViT-B-32.pt"


@pytest.fixture
def entry(mini: MiniHub) -> Entry:
    """ViT-B/32, its archive at an address of the mini hub's."""
    address = f"/clip/models/{SHA256}/{FILE}"
    mini.plain[address] = ARCHIVE
    return replace(catalog.find("ViT-B/32"), url=mini.url + address, url_sha256=SHA256)


def test_every_archive_of_the_catalogue_bears_its_sha256_in_its_address() -> None:
    archives = [entry for entry in catalog.entries().values() if entry.url]

    assert len(archives) == 9
    for entry in archives:
        assert entry.url.startswith("https://openaipublic.azureedge.net/clip/models/")
        assert entry.url.split("/")[-2] == entry.url_sha256


def test_the_hub_is_preferred(mini: MiniHub, entry: Entry) -> None:
    mini.add(entry.repository, {"open_clip_config.json": CONFIG}, lfs={NAME: WEIGHTS})

    assert hub.fetch_entry(entry).read_bytes() == WEIGHTS
    assert mini.requests(name="/clip/") == []


def test_the_archive_serves_when_no_hub_answers_and_then_without_a_request(
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


def test_a_repository_that_is_gone_or_gated_is_not_papered_over(
    mini: MiniHub, entry: Entry
) -> None:
    with pytest.raises(errors.ModelNotFound):
        hub.fetch_entry(entry)
    mini.gated.add(entry.repository)
    mini.add(entry.repository)
    with pytest.raises(errors.ModelAccessDenied):
        hub.fetch_entry(entry)

    assert mini.requests(name="/clip/") == []


def test_a_revision_is_the_hubs_alone(mini: MiniHub, entry: Entry) -> None:
    mini.fault("HEAD", "", status=503)

    with pytest.raises(hub.HubUnreachable):
        hub.fetch_entry(entry, revision="main")


def test_offline_fetches_no_archive(mini: MiniHub, entry: Entry) -> None:
    with pytest.raises(errors.OfflineError, match=r"copy open_clip_config\.json, open_clip_model"):
        hub.fetch_entry(entry, offline=True)

    assert mini.log == []


def test_when_neither_answers_both_are_named(mini: MiniHub, entry: Entry) -> None:
    mini.fault("*", "", status=503)

    with pytest.raises(errors.DownloadError) as caught:
        hub.fetch_entry(entry)

    assert len(str(caught.value)) < 600
    for word in (entry.repository, entry.url, "503", "HF_ENDPOINT", "copy"):
        assert word in str(caught.value)


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
def test_an_archive_survives(mini: MiniHub, entry: Entry, cache: Path, fault: dict) -> None:
    mini.fault("GET", FILE, **fault)

    path = publisher.fetch_archive(entry.url, SHA256)

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
def test_an_archive_that_cannot_be_had_is_an_error_and_not_kept(
    mini: MiniHub, entry: Entry, fault: dict, expected: type[Exception]
) -> None:
    mini.fault("GET", FILE, **fault)

    with pytest.raises(expected) as caught:
        publisher.fetch_archive(entry.url, SHA256)

    assert type(caught.value) is expected
    assert entry.url in str(caught.value)
    mini.faults.clear()
    assert publisher.fetch_archive(entry.url, SHA256).read_bytes() == ARCHIVE


def test_a_download_that_was_cut_off_goes_on_where_it_ended(mini: MiniHub, entry: Entry) -> None:
    mini.fault("GET", FILE, cut=300_000, times=1)
    mini.fault("GET", FILE, status=503, times=3)
    with pytest.raises(errors.DownloadError):
        publisher.fetch_archive(entry.url, SHA256)
    mini.log.clear()

    assert publisher.fetch_archive(entry.url, SHA256).read_bytes() == ARCHIVE

    (request,) = mini.requests("GET", FILE)
    assert request.range.startswith("bytes=")
    assert int(request.range[6:-1]) > 0


@pytest.mark.parametrize("left", [ARCHIVE[:5000], bytes(5000), ARCHIVE, ARCHIVE + b"x", b""])
def test_whatever_another_process_left_is_made_good(
    mini: MiniHub, entry: Entry, left: bytes
) -> None:
    path = publisher.archive_path(entry.url, SHA256)
    path.parent.mkdir(parents=True)
    path.with_name(f"{FILE}.incomplete").write_bytes(left)

    assert publisher.fetch_archive(entry.url, SHA256).read_bytes() == ARCHIVE


def test_range_ignored_begins_anew(mini: MiniHub, entry: Entry) -> None:
    mini.fault("GET", FILE, cut=100_000, times=1)
    mini.fault("GET", FILE, ignore_range=True)

    assert publisher.fetch_archive(entry.url, SHA256).read_bytes() == ARCHIVE


def test_an_archive_that_rotted_is_fetched_anew(mini: MiniHub, entry: Entry) -> None:
    path = publisher.fetch_archive(entry.url, SHA256)
    path.write_bytes(bytes(len(ARCHIVE)))

    assert publisher.fetch_archive(entry.url, SHA256).read_bytes() == ARCHIVE


def test_it_lies_beside_the_hubs_own_folder(
    mini: MiniHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home" / "hub"))

    path = publisher.archive_path("https://example.org/a/RN50.pt?x=1", "ab" * 32)

    assert path == tmp_path / "home" / "zeroshot" / "abababababababab" / "RN50.pt"


@pytest.mark.parametrize("url", ["ftp://example.org/x.pt", "file:///etc/passwd", "x.pt"])
def test_only_web_addresses_are_opened(mini: MiniHub, url: str) -> None:
    with pytest.raises(errors.DownloadError, match="https://"):
        publisher.fetch_archive(url, SHA256)


def test_no_room_is_noticed_before(
    mini: MiniHub, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))

    with pytest.raises(errors.CacheError, match=r"needs 0\.40 MB, 0\.00 MB is free"):
        publisher.fetch_archive(entry.url, SHA256)


def test_four_threads_fetch_it_once(mini: MiniHub, entry: Entry) -> None:
    mini.fault("GET", FILE, slow=0.02)
    contents: list[bytes] = []

    def work() -> None:
        contents.append(publisher.fetch_archive(entry.url, SHA256).read_bytes())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert contents == [ARCHIVE] * 4
    assert len(mini.requests("GET", FILE)) == 1


def test_its_stamp_spares_the_next_reading(
    mini: MiniHub, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = publisher.fetch_archive(entry.url, SHA256)
    stamp = json.loads(path.with_name(f"{FILE}.stamp").read_text())
    monkeypatch.setattr("zeroshot.files.sha256", lambda _: pytest.fail("was read"))

    assert publisher.fetch_archive(entry.url, SHA256) == path
    assert stamp["sha256"] == SHA256
